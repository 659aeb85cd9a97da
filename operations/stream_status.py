"""A running stream: a line that stays up to date on a terminal, one now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from transforms.progress import Status

__all__ = ["Rate", "shown"]

LINE_SECONDS = 10.0


@contextmanager
def shown(console: Console, log: Callable[[str], None]) -> Iterator[Callable[[Status], None]]:
    """While the block lasts, what to tell each Status to."""
    rate = Rate()
    if console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=4) as live:
            yield lambda status: live.update(Text(rate.line(status)))
        return
    last = time.monotonic()

    def tell(status: Status) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            log(rate.line(status))

    yield tell


class Rate:
    """Records a second, over what passed between two looks that are some seconds apart."""

    def __init__(self) -> None:
        self._before = Status(0.0, 0, 0, 0, 0, 0)
        self._rate = 0.0

    def of(self, status: Status) -> float:
        """Records a second, now that `status` is known."""
        passed = status.seconds - self._before.seconds
        if passed >= 2:
            self._rate = (status.committed - self._before.committed) / passed
            self._before = status
        return self._rate

    def line(self, status: Status) -> str:
        """What a person wants to know."""
        return (
            f"{status.seconds:.0f} s: {self.of(status):,.0f} records/s, lag {status.lag:,}, written {status.written:,},"
            f" duplicates {status.duplicate:,}, dead letters {status.dead_letter:,}"
        )
