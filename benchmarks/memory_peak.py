"""The most memory that a process and all that it has started hold together, on Linux."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

__all__ = ["MemoryPeak", "watched"]

PAUSE_SECONDS = 1.0
"""Reading the memory of a process stops it for a moment."""


class MemoryPeak:
    """The greatest sum of proportional set sizes so far: a page that processes share counts once."""

    def __init__(self) -> None:
        self.bytes = 0

    def sample(self) -> None:
        """Add up what the processes hold now."""
        this = psutil.Process()
        self.bytes = max(self.bytes, sum(map(_pss, (this, *this.children(recursive=True)))))


def _pss(process: psutil.Process) -> int:
    with suppress(OSError):  # it has just ended
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


@contextmanager
def watched() -> Iterator[MemoryPeak]:
    """Yield the peak of this process and its descendants while the block lasts."""
    peak, ended = MemoryPeak(), threading.Event()

    def watch() -> None:
        while not ended.wait(PAUSE_SECONDS):
            peak.sample()

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
        peak.sample()
