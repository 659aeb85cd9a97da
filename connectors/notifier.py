"""Send notices by Apprise, which knows a hundred services by URLs: `slack://…`, `mailtos://…`, `jsons://…`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.secrets import check_reference, read_secret
from contracts.errors import Unavailable, UsageError

if TYPE_CHECKING:
    import apprise

__all__ = ["Notifier"]

OPTION = "--notify"


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where notices go. The URL, which holds a password as a rule, is read when a notice is sent."""

    reference: str

    @classmethod
    def of(cls, reference: str) -> Notifier:
        """Return the notifier of `--notify`. Raises UsageError unless it is a reference to a URL that Apprise knows."""
        notifier = cls(check_reference(OPTION, reference))
        notifier._service()
        return notifier

    def send(self, title: str, text: str) -> None:
        """Send a notice. Raises Unavailable if the service does not take it."""
        if not self._service().notify(title=title, body=text):
            raise Unavailable(f"{OPTION}: the service that {self.reference} names does not take the notice")

    def _service(self) -> apprise.Apprise:
        import apprise  # half a second, which few commands need

        logging.getLogger(apprise.__name__).setLevel(logging.CRITICAL)  # its messages may hold a part of the URL
        service = apprise.Apprise()
        if not service.add(str(read_secret(OPTION, self.reference)).strip()):
            raise UsageError(
                f"{OPTION}: {self.reference} holds no URL that Apprise knows, such as slack://… or mailtos://…;"
                " github.com/caronc/apprise lists them"
            )
        return service
