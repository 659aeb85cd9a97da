"""The stream of this project, and the memory of its process while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from benchmarks.streaming import pipeline
from benchmarks.streaming.probe import PROBE, resident_bytes
from benchmarks.streaming.task import Task

__all__ = ["run"]

SAMPLE_SECONDS = 0.1
SHARE = 0.05
"""The size at n events is the mean of the samples between n - 5% of all events and n."""


@dataclass
class Sizes:
    """Samples of resident bytes, with the number of durable events at the time."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Take samples until all events are durable."""
        while not self.over.wait(SAMPLE_SECONDS):
            self.samples.append((PROBE.count, resident_bytes()))

    def at(self, events: float, width: float) -> float:
        """Return the mean size while between `events` - `width` and `events` were durable."""
        found = [size for count, size in self.samples if events - width <= count <= events]
        return sum(found) / len(found) if found else float("nan")


def run(task: Task) -> dict[str, float]:
    """Run the stream; return the bytes at half of the events and at all of them."""
    sizes = Sizes()
    watcher = threading.Thread(target=sizes.watch, name="sizes")
    watcher.start()
    try:
        pipeline.run(task)
    finally:
        sizes.over.set()
        watcher.join()
    width = SHARE * task.records
    return {"half_bytes": sizes.at(task.records / 2, width), "whole_bytes": sizes.at(task.records, width)}
