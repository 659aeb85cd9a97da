"""docs/reference/metrics.md and the Grafana dashboard know the metrics that there are, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import ROOT, names, rows
from transforms.metrics import METRICS, Kind

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
FUNCTIONS = {"sum", "rate", "increase", "histogram_quantile", "time"}
SERIES = {
    name: metric
    for metric in METRICS
    for name in (
        [f"{metric.served_as}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        if metric.kind is Kind.HISTOGRAM
        else [metric.served_as]
    )
}
"""What can be asked for, by name."""


def queries() -> list[str]:
    """Every query of the dashboard: its panels', its variables'."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return panels + [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]


def parsed(query: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that a PromQL query names. Every word that is neither must be a function."""
    if found := re.fullmatch(r"label_values\((\w+), (\w+)\)", query):
        return {found[1]}, {found[2]}
    labels: set[str] = set()

    def selector(match: re.Match[str]) -> str:
        labels.update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match[1]))
        return " "

    def grouping(match: re.Match[str]) -> str:
        labels.update(match[1].replace(",", " ").split())
        return " "

    rest = re.sub(r"\[[^]]*\]", " ", re.sub(r"\{([^}]*)\}", selector, query))
    rest = re.sub(r"\b(?:by|without)\s*\(([^)]*)\)", grouping, rest)
    functions = set(re.findall(r"([a-z_]+)\s*\(", rest)) | set(re.findall(r"\bsum\b", rest))
    assert functions <= FUNCTIONS, query
    return set(re.findall(r"\b[a-z_]\w*", rest)) - functions, labels


def test_metrics_lists_every_metric() -> None:
    documented = rows("reference/metrics.md", "metric")
    assert [name.strip("`") for name in documented] == [metric.served_as for metric in METRICS]
    for metric in METRICS:
        kind, labels, batch, stream, meaning = documented[f"`{metric.served_as}`"]
        assert (kind, names(labels), meaning) == (metric.kind.value, set(metric.labels), metric.meaning)
        assert {batch, stream} <= {"yes", "no"}
    assert set(re.findall(r"`?\b(contract_pipeline_\w+)", (ROOT / "docs/reference/metrics.md").read_text())) <= set(
        SERIES
    ) | {metric.served_as for metric in METRICS}


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_dashboard_names_metrics_and_labels_that_there_are(query: str) -> None:
    metrics, labels = parsed(query)
    assert metrics
    assert metrics <= set(SERIES)
    known = {label for name in metrics for label in SERIES[name].labels} | {"job", "instance", "le"}
    assert labels <= known
    for name in metrics:
        assert ("le" in labels) == name.endswith("_bucket")


def test_the_dashboard_shows_every_metric() -> None:
    shown = {SERIES[name] for query in queries() for name in parsed(query)[0]}
    assert shown == set(METRICS)


def test_a_query_that_names_no_metric_is_found() -> None:
    metrics, labels = parsed('sum by (table, colour) (rate(contract_pipeline_rows_total{door="read"}[5m])) / time()')
    assert (metrics, labels) == ({"contract_pipeline_rows_total"}, {"table", "colour", "door"})
    with pytest.raises(AssertionError):
        parsed("avrage(contract_pipeline_lag_records)")


def test_the_dashboard_asks_the_prometheus_that_is_chosen() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert Path(ROOT / "deploy/grafana-dashboard.json").read_text() == json.dumps(DASHBOARD, indent=2) + "\n"
