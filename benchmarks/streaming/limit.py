"""ReadFromKafka with metadata, and a counter: the limit of any pipeline that is built on it."""

from __future__ import annotations

import apache_beam as beam
import numpy as np

from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import Task, run_job
from connectors.sources.kafka import KafkaRecord

__all__ = ["run"]


class Count(beam.DoFn):
    """Records -> nothing."""

    def start_bundle(self) -> None:
        PROBE.begin()
        self._count = 0

    def process(self, _record: KafkaRecord) -> None:
        self._count += 1

    def finish_bundle(self) -> None:
        PROBE.add(self._count)


class CountLate(Count):
    """Records -> nothing; notes the latency of each."""

    def process(self, record: KafkaRecord) -> None:
        self._count += 1
        PROBE.late(np.array([record.timestamp]))


def run(task: Task) -> None:
    """Count the records of the topic."""
    count = CountLate() if PROBE.keep_latencies else Count()  # type: ignore[no-untyped-call]  # beam.DoFn is untyped
    run_job(task, lambda records: records | beam.ParDo(count))
