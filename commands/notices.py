"""`--notify`: look for alarms after a run and while it lasts, and send what is new and what is over."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.api_core.exceptions import GoogleAPIError
from requests.exceptions import RequestException

from connectors.bigquery.warehouse import JobFailed, Warehouse
from connectors.bookkeeping.notices import Notices
from connectors.files.storage import Storage
from connectors.notifier import Notifier
from connectors.retry import DeadlineExceeded
from contracts.errors import ReportedError
from operations.alarms.examine import MAX_DEAD_LETTER_RATIO, Examination
from operations.alarms.notify import notify
from pipelines.runs.contracts import load_contracts
from pipelines.runs.settings import RunSettings

__all__ = ["DAYS", "noticed"]

logger = logging.getLogger(__name__)
DAYS = 30
"""Runs that began earlier are not looked at."""
EVERY_SECONDS = 900.0
"""How often a stream looks: docs/explanation/costs.md has what that costs."""
FAILURES = (ReportedError, JobFailed, GoogleAPIError, RequestException, OSError, DeadlineExceeded)
"""What a look may raise. The run goes on, and the next look sends what this one did not."""


@contextmanager
def noticed(
    settings: RunSettings, reference: str | None, log: Callable[[str], None], *, repeatedly: bool = False
) -> Iterator[None]:
    """Look for alarms when the block ends, and `repeatedly` also while it lasts; send what is new to `reference`.

    A block that raises a ReportedError may have written nothing to the ledger: the error itself is sent. Without
    `reference` nothing is done. Raises UsageError, before the block, if it names no service.
    """
    if reference is None:
        yield
        return
    looking = _Looking(settings, Notifier.of(reference), log)
    stop = threading.Event()
    thread = threading.Thread(target=looking.until, args=(stop,), name="notices", daemon=True)
    if repeatedly:
        thread.start()
    try:
        yield
    except ReportedError as error:
        looking.send_error(error)
        raise
    finally:
        stop.set()
        if repeatedly:
            thread.join()
    looking.look()


@dataclass(frozen=True, slots=True)
class _Looking:
    """A look at what a run's settings name."""

    settings: RunSettings
    notifier: Notifier
    log: Callable[[str], None]

    @property
    def place(self) -> str:
        return f"{self.settings.project}.{self.settings.operations_dataset}"

    def look(self) -> None:
        """Look once. A failure is logged."""
        settings = self.settings
        warehouse = Warehouse(settings.project, settings.location)
        try:
            tables = load_contracts(Storage(settings.project), settings.contracts)
            since = datetime.now(UTC) - timedelta(days=DAYS)
            datasets = settings.datasets(tables)
            examination = Examination(
                warehouse, settings.operations_dataset, tables, datasets, since, MAX_DEAD_LETTER_RATIO
            )
            notices = Notices(warehouse, settings.operations_dataset, uuid.uuid4().hex)
            sent = notify(examination.alarms(), examination.sees, notices, self.notifier, self.place)
        except FAILURES as error:
            logger.debug("a look for alarms failed", exc_info=True)
            self.log(f"no notice was sent: {error}; the next look sends it")
            return
        for alarm in sent.new:
            self.log(f"notice sent: {alarm.kind.value}, {alarm.about}")
        for kind, about in sent.over:
            self.log(f"notice sent: over: {kind}, {about}")

    def send_error(self, error: ReportedError) -> None:
        """Send the error of a run that may have written nothing to the ledger."""
        try:
            self.notifier.send(f"{self.place}: a run was refused or has failed", "\n".join(error.lines))
        except FAILURES as failure:
            self.log(f"no notice was sent: {failure}")

    def until(self, stop: threading.Event) -> None:
        """Look at intervals."""
        while not stop.wait(EVERY_SECONDS):
            self.look()
