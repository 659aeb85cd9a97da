"""What is being retried, as lines in the log: of a batch and of a stream, on a terminal and elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from console.repeat import repeated
from transforms.waits import observed

__all__ = ["NewLines", "log_waits"]

POLL_SECONDS = 1.0
REPEAT_SECONDS = 30.0
"""Time between two lines about the same refusal."""


class NewLines:
    """Decides which lines about retries to log: each at once, and again every REPEAT_SECONDS."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def of(self, lines: Sequence[str], now: float) -> list[str]:
        """Return the lines to log now, in seconds of a monotonic clock. `lines` has all current ones."""
        current = {line.partition(" (")[0]: line for line in lines}
        self._logged_at = {what: at for what, at in self._logged_at.items() if what in current}
        due = {
            what: line
            for what, line in current.items()
            if now - self._logged_at.get(what, -REPEAT_SECONDS) >= REPEAT_SECONDS
        }
        self._logged_at |= dict.fromkeys(due, now)
        return list(due.values())


@contextmanager
def log_waits(log: Callable[[str], None]) -> Iterator[None]:
    """Log what this process retries while the block lasts, if it is retried for some seconds."""
    new = NewLines()
    with observed() as waits:

        def poll() -> None:
            for line in new.of(waits.lines(), time.monotonic()):
                log(line)

        with repeated(poll, POLL_SECONDS, "waits"):
            yield
