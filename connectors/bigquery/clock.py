"""BigQuery's clock: the one clock that stamps rows and heartbeats, whichever machine writes them.

It is asked once, by a statement that reads nothing, and continued by this machine's monotonic clock. A worker's own
clock may be wrong by hours, and a row from the future would move everything that is counted back from the newest row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.bigquery.warehouse import Warehouse
from transforms.run import Run

__all__ = ["BigQueryClock", "RunClock"]

REFRESH_SECONDS = 3600.0
"""How long the monotonic clock is trusted: quartz drifts by a second in some hours."""
RETRY_SECONDS = 300.0
SLEEP_SECONDS = 2.0
"""A difference between wall clock and monotonic clock that means that the machine slept, or was set."""


class BigQueryClock:
    """The time by BigQuery's clock, never ahead of it. Safe from any thread."""

    def __init__(
        self,
        ask: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`ask` returns BigQuery's time, an aware datetime."""
        self._ask, self._monotonic, self._wall = ask, monotonic, wall
        self._lock = threading.Lock()
        self._answer: datetime | None = None
        self._answered_at = self._wall_then = self._ask_at = 0.0

    @classmethod
    def of(cls, warehouse: Warehouse) -> BigQueryClock:
        """The clock of a warehouse."""

        def ask() -> datetime:
            now: datetime = warehouse.query("SELECT CURRENT_TIMESTAMP() AS now")[0]["now"]
            return now

        return cls(ask)

    def now(self) -> datetime:
        """Return the time. It asks BigQuery the first time, each hour, and after the machine has slept."""
        with self._lock:
            if self._answer is None or self._slept() or self._monotonic() >= self._ask_at:
                self._renew()
            assert self._answer is not None
            return self._answer + timedelta(seconds=self._monotonic() - self._answered_at)

    def _renew(self) -> None:
        """Ask BigQuery. An answer from before serves for some more minutes if it does not answer."""
        try:
            answer = self._ask()
        except Exception:
            if self._answer is None or self._slept():
                raise
            self._ask_at = self._monotonic() + RETRY_SECONDS
            return
        # Taken as the time at which the answer came: behind BigQuery's clock, never ahead of it.
        self._answer, self._answered_at, self._wall_then = answer, self._monotonic(), self._wall()
        self._ask_at = self._answered_at + REFRESH_SECONDS

    def _slept(self) -> bool:
        passed = self._monotonic() - self._answered_at
        return abs(self._wall() - self._wall_then - passed) > SLEEP_SECONDS


class _SharedClock:
    """The clock of a run in this process: a part of the run's state."""

    def __init__(self) -> None:
        self._clock: BigQueryClock | None = None

    def now(self, warehouse: Warehouse) -> datetime:
        self._clock = self._clock or BigQueryClock.of(warehouse)
        return self._clock.now()

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class RunClock:
    """BigQuery's time, by the one clock that a run has in each process. It pickles. Raises RunEnded."""

    warehouse: Warehouse
    run: Run

    def __call__(self) -> datetime:
        return self.run.state.part(_SharedClock).now(self.warehouse)
