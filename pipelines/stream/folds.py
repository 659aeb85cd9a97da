"""Folding while a job runs: the launcher of a job that ends with it folds what the job appends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from google.api_core.exceptions import GoogleAPIError
from kafka.errors import KafkaError
from requests.exceptions import RequestException

from connectors.bigquery.warehouse import JobFailed
from connectors.kafka.client import NoBroker
from connectors.retry import DeadlineExceeded
from connectors.sinks.folder import Folder, Folding

__all__ = ["Folds"]

logger = logging.getLogger(__name__)
FAILURES = (JobFailed, GoogleAPIError, RequestException, KafkaError, NoBroker, OSError, DeadlineExceeded)
"""What a fold may raise. The changes stay, and the next fold reads them."""


class Folds:
    """Folds at intervals, in a thread, while a `with` block runs; `finish` folds the rest."""

    def __init__(self, folding: Folding | None, log: Callable[[str], None]) -> None:
        """Without `folding`, or without a table that takes updates, nothing is done."""
        self._folding = folding if folding and folding.tables else None
        self._folder = Folder(self._folding) if self._folding else None
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folds", daemon=True)

    def __enter__(self) -> Folds:
        if self._folding:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def finish(self) -> str | None:
        """Fold what has been committed; return why that failed, None if it did not."""
        self._stop.set()
        if self._folder is None:
            return None
        self._thread.join()
        return _failure(self._folder, whole=True)

    def _run(self) -> None:
        assert self._folding
        assert self._folder
        while not self._stop.wait(self._folding.seconds):
            if why := _failure(self._folder):
                self._log(f"{why}; the next time reads them again")


def _failure(folder: Folder, whole: bool = False) -> str | None:
    """Fold; return why that failed, None if it did not."""
    try:
        folder.fold(whole)
    except FAILURES as error:
        logger.debug("a fold failed", exc_info=True)
        return f"changes are not merged yet: {error}"
    return None
