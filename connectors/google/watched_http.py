"""Google's REST clients retry without a log line, for minutes: their failed requests are reported as waits."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

from connectors.retry import SAME_ERROR_SECONDS, Unrecoverable
from transforms import waits

__all__ = ["watch"]

RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_MESSAGE_BYTES = 100_000


def watch(session: Session, service: str, same_error: float = SAME_ERROR_SECONDS) -> None:
    """Report as waits which requests of `session` to `service` fail, and why.

    A request that meets the same internal error (500) for more than `same_error` seconds raises Unrecoverable, which
    the clients do not retry.
    """
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Watched(service, same_error))


class _Watched(HTTPAdapter):
    """Sends requests and reports failures. A thread retries one request at a time: its next success ends the wait."""

    def __init__(self, service: str, same_error: float) -> None:
        self._service, self._same_error = service, same_error
        super().__init__()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_service": self._service, "_same_error": self._same_error}

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        key = self._service, threading.get_ident()
        url = urlsplit(request.url or "")
        what = f"{self._service} refuses {request.method} {url.path}"
        try:
            response = super().send(request, *args, **options)
        except RequestException as error:
            # The query of an upload's address is a secret: it is all that is needed to continue the upload.
            waits.failed(key, what, str(error).replace(f"?{url.query}", ""))
            raise
        if response.status_code not in RETRIED:
            waits.over(key)
            return response
        wait = waits.failed(key, what, f"{response.status_code} {_message(response)}")
        if response.status_code == 500 and time.monotonic() - wait.same_since > self._same_error:
            waits.over(key)
            raise Unrecoverable(f"{what}, for more than {self._same_error:g} s: {wait.reason}")
        return response


def _message(response: Response) -> str:
    """Return the message of the service's error, or the beginning of its body."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:MAX_MESSAGE_BYTES] or response.reason
    return str(message)
