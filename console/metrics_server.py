"""Serves the metrics of a run to Prometheus while the run lasts. See transforms/metrics.py."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from console.stream_progress import Rate
from contracts.errors import UsageError
from transforms.latency import CLASSES_PER_DOUBLING, upper_bound
from transforms.metrics import LAG, LATENCY, METRICS, RATE, STATUS_TIME, Kind, MetricValues
from transforms.progress import Status

__all__ = ["StatusGauges", "served"]

HOST = "127.0.0.1"
DOUBLINGS = range(20)
"""Buckets of the histogram: up to 2, 4, 8 … milliseconds, the last 1,049 s."""


@contextmanager
def served(metrics: MetricValues, port: int | None) -> Iterator[None]:
    """Serve `metrics` at http://127.0.0.1:PORT/metrics while the block lasts, if a port is given.

    Raises UsageError if the port cannot be used.
    """
    if port is None:
        yield
        return
    if not 1 <= port <= 65_535:
        raise UsageError(f"--metrics_port must be a number from 1 to 65535, not {port}")
    registry = CollectorRegistry()
    registry.register(_Families(metrics))
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        raise UsageError(f"--metrics_port: {HOST}:{port} cannot be used: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class StatusGauges:
    """Sets the gauges that only the launcher knows from each Status of a running stream, and passes it on."""

    def __init__(self, show: Callable[[Status], None], metrics: MetricValues) -> None:
        self._show, self._metrics, self._rate = show, metrics, Rate()

    def __call__(self, status: Status) -> None:
        self._metrics.set(LAG, status.lag)
        self._metrics.set(RATE, self._rate.of(status))
        self._metrics.set(STATUS_TIME, time.time())
        self._show(status)


class _Families(Collector):
    """Metrics as Prometheus' families."""

    def __init__(self, metrics: MetricValues) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                continue
            make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(metric.served_as, metric.meaning, labels=metric.labels)
            for series, number in self._metrics.numbers(metric).items():
                family.add_metric(series, number)
            yield family
        latencies = HistogramMetricFamily(LATENCY.served_as, LATENCY.meaning, labels=LATENCY.labels)
        for series, counts in self._metrics.latencies().items():
            latencies.add_metric(series, _buckets(counts), _sum(counts))
        yield latencies


def _buckets(counts: Counter[int]) -> list[tuple[str, float]]:
    """The cumulated counts by upper bound in seconds, a bound for each doubling."""
    buckets: list[tuple[str, float]] = []
    for doubling in DOUBLINGS:
        last = (doubling + 1) * CLASSES_PER_DOUBLING - 1
        below = sum(number for latency_class, number in counts.items() if latency_class <= last)
        buckets.append((str(upper_bound(last) / 1000), below))
    return [*buckets, ("+Inf", sum(counts.values()))]


def _sum(counts: Counter[int]) -> float:
    """The sum in seconds, at most 9% too high: each latency counts as the upper bound of its class."""
    return sum(upper_bound(latency_class) * number for latency_class, number in counts.items()) / 1000
