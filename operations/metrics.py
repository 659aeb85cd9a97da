"""What was counted in this process, served as Prometheus reads it, while a run lasts. See transforms/metrics.py."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from contracts.errors import Misuse
from operations.stream_status import Rate
from transforms.latency import CLASSES_PER_DOUBLING, upper_bound
from transforms.metrics import LAG, LATENCY, METRICS, RATE, STATUS_TIME, VALUES, Kind, Values
from transforms.progress import Status

__all__ = ["StatusGauges", "served"]

HOST = "127.0.0.1"
DOUBLINGS = range(20)
"""Buckets of the histogram: up to 2, 4, 8 … milliseconds, the last 1,049 s."""


@contextmanager
def served(port: int | None) -> Iterator[None]:
    """While the block lasts, VALUES at http://127.0.0.1:PORT/metrics. Misuse for a port that cannot be had."""
    if port is None:
        yield
        return
    if not 1 <= port <= 65_535:
        raise Misuse(f"--metrics_port is a number from 1 to 65535, not {port}")
    registry = CollectorRegistry()
    registry.register(_Values(VALUES))
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        raise Misuse(f"--metrics_port: {HOST}:{port} cannot be had: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class StatusGauges:
    """Takes each Status of a running stream, sets the gauges that only the launcher knows, and passes it on."""

    def __init__(self, show: Callable[[Status], None], values: Values = VALUES) -> None:
        self._show, self._values, self._rate = show, values, Rate()

    def __call__(self, status: Status) -> None:
        self._values.set(LAG, status.lag, ())
        self._values.set(RATE, self._rate.of(status), ())
        self._values.set(STATUS_TIME, time.time(), ())
        self._show(status)


class _Values(Collector):
    """Values as Prometheus' families."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                continue
            make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(metric.served_as, metric.meaning, labels=metric.labels)
            for series, number in self._values.numbers(metric).items():
                family.add_metric(series, number)
            yield family
        latencies = HistogramMetricFamily(LATENCY.served_as, LATENCY.meaning, labels=LATENCY.labels)
        for series, counts in self._values.latencies().items():
            latencies.add_metric(series, _buckets(counts), _sum(counts))
        yield latencies


def _buckets(counts: Counter[int]) -> list[tuple[str, float]]:
    """Cumulated counts by upper bound in seconds, a bound for each doubling."""
    found: list[tuple[str, float]] = []
    for doubling in DOUBLINGS:
        last = (doubling + 1) * CLASSES_PER_DOUBLING - 1
        below = sum(number for latency_class, number in counts.items() if latency_class <= last)
        found.append((str(upper_bound(last) / 1000), below))
    return [*found, ("+Inf", sum(counts.values()))]


def _sum(counts: Counter[int]) -> float:
    """Seconds, at most 9% too many: each latency counts as the upper bound of its class."""
    return sum(upper_bound(latency_class) * number for latency_class, number in counts.items()) / 1000
