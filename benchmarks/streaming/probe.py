"""When the first record was read, when the last one was durable, what it cost meanwhile, and how late records were."""

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
    """Counts what is durable, from any thread. The steps of a job with LOOPBACK workers share the process's `PROBE`."""

    expected: int = 0
    first: float = 0.0
    """When the first record came, in seconds of time.monotonic; 0 before."""
    last: float = 0.0
    count: int = 0
    complete: threading.Event = field(default_factory=threading.Event)
    keep_latencies: bool = False
    _before: dict[str, float] = field(default_factory=dict)
    _after: dict[str, float] = field(default_factory=dict)
    _latencies: list[tuple[int, npt.NDArray[np.int64]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """The first records are here. To be called again does nothing."""
        if self.first:
            return
        with self._lock:
            if not self.first:
                self._before = processor_seconds()
                self.first = time.monotonic()

    def add(self, records: int) -> None:
        """So many more records are durable."""
        with self._lock:
            self.count += records
            self.last = time.monotonic()
            if self.count >= self.expected and not self.complete.is_set():
                self._after = processor_seconds()
                self.complete.set()

    def late(self, timestamps: npt.NDArray[np.int64]) -> None:
        """Records that were sent at these times (ms since 1970) are there for whoever asks, from now on."""
        if self.keep_latencies:
            with self._lock:
                self._latencies.append((int(time.time() * 1000), timestamps))

    def result(self) -> dict[str, Any]:
        """What was measured: records, seconds from the first read to the last durable, processor seconds by program."""
        after = self._after or processor_seconds()
        used = {name: round(spent - self._before.get(name, 0.0), 2) for name, spent in after.items()}
        return {"records": self.count, "seconds": max(self.last - self.first, 1e-9), "processor": used}

    def latencies(self, warm_seconds: float) -> npt.NDArray[np.int64]:
        """Milliseconds of every record that was sent later than `warm_seconds` behind the first arrival."""
        arrived = min((at for at, _ in self._latencies), default=0)
        late = [at - sent[sent > arrived + warm_seconds * 1000] for at, sent in self._latencies]
        return np.concatenate(late) if late else np.array([], dtype=np.int64)


PROBE = Probe()
"""Of this process."""


def processor_seconds() -> dict[str, float]:
    """Processor seconds that this process and its children have used, by program: python, java, prism."""
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
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)
