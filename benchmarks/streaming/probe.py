"""Measure a run: from the first record read to the last record durable, its processor time and its latencies."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

__all__ = ["Probe", "processor_seconds", "resident_bytes"]


@dataclass
class Probe:
    """Counts durable records, from any thread. Steps in LOOPBACK workers share this process's `PROBE`."""

    expected: int = 0
    first: float = 0.0
    """The time of the first record in seconds of time.monotonic; 0 before it came."""
    last: float = 0.0
    count: int = 0
    complete: threading.Event = field(default_factory=threading.Event)
    keep_latencies: bool = False
    _before: dict[str, float] = field(default_factory=dict)
    _after: dict[str, float] = field(default_factory=dict)
    _latencies: list[tuple[int, npt.NDArray[np.int64]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Note that the first records came; later calls do nothing."""
        if self.first:
            return
        with self._lock:
            if not self.first:
                self._before = processor_seconds()
                self.first = time.monotonic()

    def add(self, records: int) -> None:
        """Note that more records are durable."""
        with self._lock:
            self.count += records
            self.last = time.monotonic()
            if self.count >= self.expected and not self.complete.is_set():
                self._after = processor_seconds()
                self.complete.set()

    def late(self, timestamps: npt.NDArray[np.int64]) -> None:
        """Note that records sent at these times (ms since 1970) can be queried now."""
        if self.keep_latencies:
            with self._lock:
                self._latencies.append((int(time.time() * 1000), timestamps))

    def result(self) -> dict[str, Any]:
        """Return records, seconds from the first read to the last durable, and processor seconds by program."""
        after = self._after or processor_seconds()
        used = {name: round(spent - self._before.get(name, 0.0), 2) for name, spent in after.items()}
        return {"records": self.count, "seconds": max(self.last - self.first, 1e-9), "processor": used}

    def latencies(self, warm_seconds: float) -> npt.NDArray[np.int64]:
        """Return the latencies, in ms, of records sent more than `warm_seconds` after the first arrival."""
        arrived = min((at for at, _ in self._latencies), default=0)
        late = [at - sent[sent > arrived + warm_seconds * 1000] for at, sent in self._latencies]
        return np.concatenate(late) if late else np.array([], dtype=np.int64)


PROBE = Probe()
"""The probe of this process."""


def processor_seconds() -> dict[str, float]:
    """Return the processor seconds of this process and its children, by program: python, java, prism."""
    found: dict[str, float] = {}
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            name, times = process.name(), process.cpu_times()
        except psutil.Error:  # it has ended
            continue
        name = "prism" if name.startswith("prism") else "python" if name.startswith("python") else name
        found[name] = found.get(name, 0.0) + times.user + times.system
    return found


def resident_bytes() -> int:
    """Return the resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)
