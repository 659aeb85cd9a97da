"""The progress of a stream: a live line on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from console.printable import printable
from console.repeat import repeated
from transforms.progress import Status

__all__ = ["Rate", "stream_progress"]

LINE_SECONDS = 10.0
STILL_SECONDS = 10.0
"""A stream with records to read that has written no row for this long says so."""


@contextmanager
def stream_progress(console: Console, log: Callable[[str], None]) -> Iterator[Callable[[Status], None]]:
    """Yield a function that shows a Status; it can be called while the block lasts.

    On a terminal a line shows first how long the stream has been starting, then its newest status, which stays on the
    screen after the block.
    """
    rate = Rate()
    began = time.monotonic()
    if not console.is_terminal:
        with _lines(rate, log) as show:
            yield show
        return
    line = ""

    def draw() -> Text:
        return Text(line or f"starting the stream, {time.monotonic() - began:.0f} s; Ctrl-C stops it")

    def show_line(status: Status) -> None:
        nonlocal line
        line = printable(rate.line(status))

    with Live(console=console, transient=True, refresh_per_second=4, get_renderable=draw):
        yield show_line
    if line:
        log(line)


@contextmanager
def _lines(rate: Rate, log: Callable[[str], None]) -> Iterator[Callable[[Status], None]]:
    """Yield a function that logs a status every LINE_SECONDS; until the first one, log how long the stream starts."""
    began = last = time.monotonic()
    started = threading.Event()

    def show(status: Status) -> None:
        nonlocal last
        first = not started.is_set()
        started.set()
        if first or time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            log(rate.line(status))

    def starting() -> None:
        if not started.is_set():
            log(f"starting the stream, {time.monotonic() - began:.0f} s")

    with repeated(starting, LINE_SECONDS, "starting"):
        yield show


class Rate:
    """The rate of a stream in records a second, measured over at least two seconds."""

    def __init__(self) -> None:
        self._before = Status(0.0, 0, 0, 0, 0, 0)
        self._rate = 0.0
        self._written, self._written_at = 0, 0.0

    def of(self, status: Status) -> float:
        """Return the rate at `status`."""
        elapsed = status.seconds - self._before.seconds
        if elapsed >= 2:
            self._rate = (status.committed - self._before.committed) / elapsed
            self._before = status
        return self._rate

    def line(self, status: Status) -> str:
        """Describe `status` in one line."""
        differ = f" ({status.duplicate_differs:,} differ)" if status.duplicate_differs else ""
        waiting = f"; {status.waiting}" if status.waiting else ""
        return (
            f"{status.seconds:.0f} s: {self.of(status):,.0f} records/s, lag {status.lag:,}, written {status.written:,},"
            f" duplicates {status.duplicate:,}{differ}, dead letters {status.dead_letter:,}{self._still(status)}"
            f"{waiting}"
        )

    def _still(self, status: Status) -> str:
        """Return for how long no row has been written, if there are records to read; '' if rows are written."""
        if status.written != self._written:
            self._written, self._written_at = status.written, status.seconds
        still = status.seconds - self._written_at
        if not status.lag or still < STILL_SECONDS:
            return ""
        return f", last row {still:.0f} s ago" if self._written else ", no row yet"
