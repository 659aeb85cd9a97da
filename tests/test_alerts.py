"""The alert rules name metrics and labels that exist, and each has its section in the how-to."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests import test_metrics_documents as documents
from tests.test_docs import ROOT

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus-alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SECTIONS = re.findall(r"^## (\w+)$", (ROOT / "docs/how-to/monitor.md").read_text(), re.MULTILINE)
OPERATORS = r"\b(?:and|or|unless)\b"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    query = re.sub(OPERATORS, "+", rule["expr"]).replace("delta(", "rate(")
    metrics, labels = documents.parsed(query)
    assert metrics
    assert metrics <= set(documents.SERIES)
    assert labels <= {label for name in metrics for label in documents.SERIES[name].labels}


def test_each_alert_has_a_section_of_the_how_to() -> None:
    assert [rule["alert"] for rule in RULES] == [name for name in SECTIONS if name != "Batches"]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/how-to/monitor.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
