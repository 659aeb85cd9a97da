"""The heartbeat of a run that holds leases: a thread that renews them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from google.api_core.exceptions import GoogleAPIError
from requests.exceptions import RequestException

from connectors.bookkeeping.leases import HEARTBEAT_SECONDS, Leases
from connectors.retry import DeadlineExceeded

__all__ = ["Heartbeat"]


class Heartbeat:
    """Renews leases in a thread while a `with` block runs, and releases them at its end if `release` is true."""

    def __init__(self, leases: Leases, tables: Sequence[str], token: str, release: bool = True) -> None:
        self._leases, self._tables, self._token, self._release = leases, tables, token, release
        self.lost = threading.Event()
        """Set when another run has taken one of the leases."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)

    def hand_over(self) -> None:
        """Keep the leases at the end of the block: another process sends the heartbeats from then on."""
        self._release = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._release:
            self._leases.release(self._tables, self._token)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                if not self._leases.renew(self._tables, self._token):
                    self.lost.set()
            except (GoogleAPIError, RequestException, DeadlineExceeded):
                continue  # a lease survives three missed heartbeats, and no write relies on it
