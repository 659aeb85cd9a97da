"""What steps count: in this process, and among Beam's own metrics of a pipeline."""

from __future__ import annotations

from collections import Counter

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from transforms.metrics import BYTES, INDEX_KEYS, LAG, LATENCY, LOST_OFFSETS, METRICS, RECORDS, Kind, MetricValues
from transforms.run_state import RunState, registered, state_of

TABLE = "counted_in_this_test"


def step(number: int, token: str) -> None:
    """Counts as the pipelines' steps do."""
    metrics = state_of(token).metrics
    metrics.count(BYTES, number, TABLE)
    metrics.count_dead_letters(TABLE, {"malformed_json": 2, "invalid_value": 1})
    metrics.gauge(INDEX_KEYS, 7, TABLE, "lane", "0")
    metrics.count_latencies(TABLE, {8: 5, 16: number})
    metrics.count_latencies(TABLE, {})


def test_a_step_counts_for_beam_and_for_this_process() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([10, 20], reshuffle=False) | beam.Map(step, "metrics-token")
    state = RunState()
    with registered("metrics-token", state):
        result = pipeline.run()
        result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("contract_pipeline"))
    counters = {one.key.metric.name: one.committed for one in found["counters"]}
    assert counters == {
        f"bytes.{TABLE}": 30,
        f"records.{TABLE}.dead_letter": 6,
        f"dead_letters.{TABLE}.malformed_json": 4,
        f"dead_letters.{TABLE}.invalid_value": 2,
    }
    (keys,) = found["gauges"]
    assert (keys.key.metric.name, keys.committed.value) == (f"index_keys.{TABLE}.lane.0", 7)
    (latency,) = found["distributions"]
    assert latency.key.metric.name == f"latency_seconds.{TABLE}"
    assert (latency.committed.count, latency.committed.max) == (2, 4)  # of each call the slowest class, in milliseconds
    assert state.metrics.numbers(BYTES)[TABLE,] == 30
    assert state.metrics.numbers(RECORDS)[TABLE, "dead_letter"] == 6
    assert state.metrics.numbers(INDEX_KEYS)[TABLE, "lane", "0"] == 7
    assert state.metrics.latencies()[TABLE,] == Counter({8: 10, 16: 30})


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    assert MetricValues().numbers(LOST_OFFSETS) == {(): 0.0}
    assert MetricValues().numbers(LAG) == {}
    assert MetricValues().numbers(RECORDS) == {}


def test_names_are_what_prometheus_takes() -> None:
    assert len({metric.served_as for metric in METRICS}) == len(METRICS)
    assert LATENCY.served_as == "contract_pipeline_latency_seconds"
    for metric in METRICS:
        assert metric.served_as.endswith("_total") == (metric.kind is Kind.COUNTER)
