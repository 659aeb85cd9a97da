"""The metrics of the pipelines: their names and meanings, and how steps count. docs/reference/metrics.md lists them.

A count goes to Beam, whose runner shows it, and to the values of the run in this process, which `--metrics_port`
serves: on DirectRunner and with LOOPBACK workers every step runs in the launcher's process. Steps count a block, a file
or a ledger line at a time, never a record. What an engine runs twice is counted twice: the ledger is exact, metrics are
not.
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

__all__ = ["METRICS", "Kind", "Metric", "MetricValues", "Series"]

NAMESPACE = "contract_pipeline"


class Kind(enum.Enum):
    """The type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A counter without labels starts at 0; one with labels has no value until it is counted."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str

    @property
    def served_as(self) -> str:
        """The name that Prometheus reads."""
        return f"{NAMESPACE}_{self.name}" + ("_total" if self.kind is Kind.COUNTER else "")

    def beam_name(self, *labels: str) -> str:
        """The name in Beam's metrics, which have no labels."""
        return ".".join((self.name, *labels))


RECORDS = Metric("records", Kind.COUNTER, ("table", "door"), "records, by door: read, written, duplicate, dead_letter")
DEAD_LETTERS = Metric("dead_letters", Kind.COUNTER, ("table", "code"), "refused records, by error code")
DUPLICATE_DIFFERS = Metric(
    "duplicate_differs", Kind.COUNTER, ("table",), "duplicates that differ from the row that was written"
)
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
    RECORDS,
    DEAD_LETTERS,
    DUPLICATE_DIFFERS,
    BYTES,
    LATENCY,
    INDEX_KEYS,
    BUCKET_TAKES,
    APPEND_RETRIES,
    LOST_OFFSETS,
    LAG,
    RATE,
    STATUS_TIME,
)
"""All metrics."""
Series = tuple[str, ...]
"""The values of a metric's labels."""


@dataclass
class MetricValues:
    """What one run has counted in this process, by metric and series; latencies as counts by class, see latency.py.

    All methods can be called from any thread.
    """

    _numbers: dict[Metric, dict[Series, float]] = field(default_factory=dict)
    _latencies: dict[Series, Counter[int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, metric: Metric, number: int, *labels: str) -> None:
        """Add `number` to a counter, here and in Beam's metrics."""
        _beam_counter(metric, labels).inc(number)
        with self._lock:
            numbers = self._numbers.setdefault(metric, {})
            numbers[labels] = numbers.get(labels, 0) + number

    def gauge(self, metric: Metric, value: int, *labels: str) -> None:
        """Set a gauge, here and in Beam's metrics."""
        _beam_gauge(metric, labels).set(value)
        self.set(metric, value, *labels)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge here alone: one that the launcher knows and no step."""
        with self._lock:
            self._numbers.setdefault(metric, {})[labels] = value

    def take(self) -> dict[tuple[Metric, Series], float]:
        """Remove all counters, and return what they were: what this process has counted goes to another one."""
        with self._lock:
            taken = {
                (metric, series): number
                for metric, numbers in self._numbers.items()
                if metric.kind is Kind.COUNTER
                for series, number in numbers.items()
            }
            for metric, _ in taken:
                self._numbers.pop(metric, None)
            return taken

    def add(self, taken: Mapping[tuple[Metric, Series], float]) -> None:
        """Add counters of another process. Beam's metrics have them from that process."""
        with self._lock:
            for (metric, series), number in taken.items():
                numbers = self._numbers.setdefault(metric, {})
                numbers[series] = numbers.get(series, 0) + number

    def count_dead_letters(self, table: str, codes: Mapping[str, int]) -> None:
        """Count dead letters of a table by error code, when they have gone through their door."""
        self.count(RECORDS, sum(codes.values()), table, "dead_letter")
        for code, number in codes.items():
            self.count(DEAD_LETTERS, number, table, code)

    def count_latencies(self, table: str, counts: Mapping[int, int]) -> None:
        """Add the latencies of written rows, as counts by class.

        Beam's distribution takes one value at a time, so it gets the slowest.
        """
        if counts:
            _beam_distribution(LATENCY, (table,)).update(round(upper_bound(max(counts))))
            with self._lock:
                self._latencies.setdefault((table,), Counter()).update(counts)

    def numbers(self, metric: Metric) -> dict[Series, float]:
        """Return the value of each series of a counter or a gauge."""
        with self._lock:
            default: dict[Series, float] = {(): 0.0} if metric.kind is Kind.COUNTER and not metric.labels else {}
            return dict(self._numbers.get(metric, default))

    def latencies(self) -> dict[Series, Counter[int]]:
        """Return the counts by class of each series of LATENCY."""
        with self._lock:
            return {series: Counter(counts) for series, counts in self._latencies.items()}


@cache
def _beam_counter(metric: Metric, labels: Series) -> BeamCounter:
    return Metrics.counter(NAMESPACE, metric.beam_name(*labels))


@cache
def _beam_gauge(metric: Metric, labels: Series) -> Gauge:
    return Metrics.gauge(NAMESPACE, metric.beam_name(*labels))


@cache
def _beam_distribution(metric: Metric, labels: Series) -> Distribution:
    return Metrics.distribution(NAMESPACE, metric.beam_name(*labels))
