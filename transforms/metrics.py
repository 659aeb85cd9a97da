"""The pipelines' metrics: all that there are, what each means, and how a step counts. docs/metrics.md has them too.

What is counted goes to Beam, whose runner shows it, and into this process's VALUES, which `--metrics_port` serves: on
DirectRunner and with LOOPBACK workers every step runs in the launcher's process. Steps count a block, a file or a
line of the ledger at a time, never a record. What an engine runs twice is counted twice: the ledger is the truth.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from apache_beam.metrics.metric import Metrics
from apache_beam.metrics.metricbase import Counter as BeamCounter
from apache_beam.metrics.metricbase import Distribution, Gauge

from transforms.latency import upper_bound

__all__ = [
    "METRICS",
    "VALUES",
    "Kind",
    "Metric",
    "Values",
    "count",
    "count_dead_letters",
    "count_latencies_of",
    "gauge",
]

NAMESPACE = "shop_pipeline"


class Kind(enum.Enum):
    """What can be asked of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A counter without labels is 0 until it is counted."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str

    @property
    def served_as(self) -> str:
        """Its name where Prometheus reads it."""
        return f"{NAMESPACE}_{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")

    def beam_name(self, *labels: str) -> str:
        """Its name among Beam's metrics, which know no labels."""
        return ".".join((self.name, *labels))


RECORDS = Metric("records", Kind.COUNTER, ("table", "door"), "records, by door: read, written, duplicate, dead_letter")
DEAD_LETTERS = Metric("dead_letters", Kind.COUNTER, ("table", "code"), "refused records, by error code")
BYTES = Metric("bytes", Kind.COUNTER, ("table",), "bytes read, as they are in the files or the records' values")
LATENCY = Metric(
    "latency_seconds", Kind.HISTOGRAM, ("table",), "of written rows, from Kafka's timestamp to `_ingested_at`"
)
INDEX_KEYS = Metric("index_keys", Kind.GAUGE, ("table", "lane", "bucket"), "keys that a bucket's index holds")
BUCKET_TAKES = Metric(
    "bucket_takes", Kind.COUNTER, ("table", "lane"), "how often a bucket was taken, its index read from the table"
)
APPEND_RETRIES = Metric("append_retries", Kind.COUNTER, (), "appends that BigQuery did not take and were sent again")
LOST_OFFSETS = Metric("lost_offsets", Kind.COUNTER, (), "offsets that the broker removed before they were read")
LAG = Metric("lag_records", Kind.GAUGE, (), "offsets that are left to read, all partitions together")
RATE = Metric("records_per_second", Kind.GAUGE, (), "offsets committed a second, over the last seconds")
STATUS_TIME = Metric("status_timestamp_seconds", Kind.GAUGE, (), "when lag and rate were last known, Unix time")
METRICS = (
    RECORDS, DEAD_LETTERS, BYTES, LATENCY, INDEX_KEYS, BUCKET_TAKES, APPEND_RETRIES, LOST_OFFSETS,
    LAG, RATE, STATUS_TIME,
)  # fmt: skip
"""Every metric that there is."""
Series = tuple[str, ...]
"""The values of a metric's labels."""


@dataclass
class Values:
    """What was counted, by metric and series; latencies as counts by class, see latency.py."""

    _numbers: dict[Metric, dict[Series, float]] = field(default_factory=dict)
    _latencies: dict[Series, Counter[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, metric: Metric, number: float, series: Series) -> None:
        """Count; from any thread."""
        with self._lock:
            numbers = self._numbers.setdefault(metric, {})
            numbers[series] = numbers.get(series, 0) + number

    def set(self, metric: Metric, number: float, series: Series) -> None:
        """Replace the value of a gauge."""
        with self._lock:
            self._numbers.setdefault(metric, {})[series] = number

    def add_latencies(self, counts: Mapping[int, int], series: Series) -> None:
        """Count latencies by class."""
        with self._lock:
            self._latencies.setdefault(series, Counter()).update(counts)

    def numbers(self, metric: Metric) -> dict[Series, float]:
        """The value of each series of a counter or a gauge."""
        with self._lock:
            nothing: dict[Series, float] = {(): 0.0} if metric.kind is Kind.COUNTER and not metric.labels else {}
            return dict(self._numbers.get(metric, nothing))

    def latencies(self) -> dict[Series, Counter[int]]:
        """Of each series of LATENCY the counts by class."""
        with self._lock:
            return {series: Counter(counts) for series, counts in self._latencies.items()}


VALUES = Values()
"""This process's."""


def count(metric: Metric, number: int, *labels: str) -> None:
    """Count `number` more of a counter."""
    _beam_counter(metric, labels).inc(number)
    VALUES.add(metric, number, labels)


def gauge(metric: Metric, value: int, *labels: str) -> None:
    """Set a gauge."""
    _beam_gauge(metric, labels).set(value)
    VALUES.set(metric, value, labels)


def count_dead_letters(table: str, codes: Mapping[str, int]) -> None:
    """Count refused records of a table, by code: they have gone through their door."""
    count(RECORDS, sum(codes.values()), table, "dead_letter")
    for code, number in codes.items():
        count(DEAD_LETTERS, number, table, code)


def count_latencies_of(table: str, counts: Mapping[int, int]) -> None:
    """Count the latencies of written rows by class. Beam's distribution takes one value at a time: the slowest."""
    if counts:
        _beam_distribution(LATENCY, (table,)).update(round(upper_bound(max(counts))))
        VALUES.add_latencies(counts, (table,))


@cache
def _beam_counter(metric: Metric, labels: Series) -> BeamCounter:
    return Metrics.counter(NAMESPACE, metric.beam_name(*labels))


@cache
def _beam_gauge(metric: Metric, labels: Series) -> Gauge:
    return Metrics.gauge(NAMESPACE, metric.beam_name(*labels))


@cache
def _beam_distribution(metric: Metric, labels: Series) -> Distribution:
    return Metrics.distribution(NAMESPACE, metric.beam_name(*labels))
