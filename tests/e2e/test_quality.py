"""Quality rules and relationships, checked by real batches on what they have loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import main
from local.services import Endpoints
from tests.local.clients import bigquery_client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: fares\nversion: 1.0.0\nschema:\n"
RIDES = """  - name: rides
    customProperties: [{property: writeDisposition, value: merge}]
    quality: [RULES]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: day, logicalType: date, partitioned: true}
      - name: zone
        logicalType: string
        quality: [ZONE]
        relationships: [RELATION]
      - name: fare
        logicalType: object
        properties:
          - {name: amount, logicalType: number, physicalType: NUMERIC, quality: [FARE]}
"""
ZONES = """  - name: zones
    properties:
      - {name: zone, logicalType: string, primaryKey: true}
"""
RIDES_LINES: list[dict[str, Any]] = [
    {"id": 1, "day": "2024-05-01", "zone": "A", "fare": {"amount": 5}},
    {"id": 2, "day": "2024-05-02", "zone": "A", "fare": {"amount": 7.5}},
    {"id": 3, "day": "2024-05-03", "zone": "n/a", "fare": {"amount": -1}},
    {"id": 4, "day": None, "zone": None, "fare": None},
]


class Place:
    """A dataset of the local cloud, the contracts of its tables and a folder of files."""

    def __init__(self, cloud: tuple[Path, Endpoints], folder: Path, dataset: str) -> None:
        self.cloud, self.folder, self.dataset = cloud, folder, dataset
        for name in ("contracts", "raw"):
            (folder / name).mkdir()

    def contract(self, rules: str = "", zone: str = "", fare: str = "", relation: str = "") -> None:
        """Write the contract of rides with these rules, and that of zones."""
        text = RIDES.replace("[RULES]", f"[{rules}]").replace("[ZONE]", f"[{zone}]").replace("[FARE]", f"[{fare}]")
        text = text.replace("[RELATION]", f"[{relation}]")
        (self.folder / "contracts" / "rides.odcs.yaml").write_text(HEAD + text + ZONES)

    def batch(self, *lines: dict[str, Any], **others: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """Load these rides, and lines of other tables; return the exit code and the summary."""
        for name, each in {"rides": list(lines), **others}.items():
            text = "".join(json.dumps(line) + "\n" for line in each)
            (self.folder / "raw" / f"{name}.ndjson").write_text(text)
        directory, _ = self.cloud
        summary = self.folder / "summary.json"
        words = [f"--local_dir={directory}", f"--contracts={self.folder / 'contracts'}", f"--dataset={self.dataset}"]
        words += [f"--input={self.folder / 'raw'}", f"--summary={summary}", "--runner=DirectRunner", "--local"]
        code = main(["batch", *words, f"--operations_dataset={self.dataset}_ops"])
        return code, json.loads(summary.read_text())

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query; {0} is the dataset of the tables, {1} that of the ledger."""
        sql = sql.format(self.dataset, f"{self.dataset}_ops")
        return [dict(row.items()) for row in bigquery_client(self.cloud[1]).query(sql).result()]


@pytest.fixture
def place(local_cloud: tuple[Path, Endpoints], tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(local_cloud, tmp_path, f"q_{abs(hash(request.node.name)) % 10**8}")


def values(summary: dict[str, Any], table: str = "rides") -> dict[str, tuple[str, float | None]]:
    return {rule["rule"]: (rule["outcome"], rule["value"]) for rule in summary["tables"][table]["quality"]}


KEPT = """{metric: rowCount, mustBeBetween: [4, 4]},
 {metric: duplicateValues, mustBe: 1, arguments: {properties: [zone]}},
 {metric: duplicateValues, mustBe: 0, arguments: {properties: [zone, day]}},
 {type: sql, name: fares, query: "SELECT SUM(fare.amount) FROM {object};", mustBeGreaterThan: 11, mustBeLessThan: 12},
 {type: sql, name: known, query: "SELECT COUNT(*) = 4 FROM ${object} AS o", mustBe: true}"""
ZONE = """{metric: nullValues, mustBeLessOrEqualTo: 25, unit: percent},
 {metric: missingValues, mustBe: 2, arguments: {missingValues: [null, 'n/a', 7]}},
 {metric: invalidValues, name: letters, mustNotBe: 0, arguments: {pattern: '^[A-Z]$'}},
 {metric: invalidValues, name: listed, mustBe: 1, arguments: {validValues: [A, B], pattern: '^[A-Z]$'}},
 {type: sql, name: longest, query: "SELECT MAX(LENGTH({property})) FROM {object}", mustBe: 3}"""
FARE = "{metric: nullValues, mustBe: 1}, {metric: invalidValues, mustBe: 1, arguments: {validValues: [5, 7.50]}}"


def test_rules_that_are_kept_are_measured_on_what_was_loaded(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.contract(KEPT, ZONE, FARE)
    code, summary = place.batch(*RIDES_LINES)
    assert (code, summary["state"]) == (0, "done"), summary
    assert values(summary) == {
        "rowCount": ("kept", 4),
        "duplicateValues": ("kept", 1),
        "duplicateValues (2)": ("kept", 0),
        "fares": ("kept", 11.5),
        "known": ("kept", 1),
        "nullValues of zone": ("kept", 25),
        "missingValues of zone": ("kept", 2),
        "letters": ("kept", 1),
        "listed": ("kept", 1),
        "longest": ("kept", 3),
        "nullValues of fare.amount": ("kept", 1),
        "invalidValues of fare.amount": ("kept", 1),
    }
    assert "quality of rides: 12 of 12 rules are kept" in capsys.readouterr().out
    place.contract("{metric: rowCount, mustBe: 1}, {type: sql, query: 'SELECT COUNT(*) FROM {object}', mustBe: 1}")
    code, summary = place.batch({"id": 5, "day": "2024-06-01", "zone": "B"})
    assert (code, values(summary)) == (0, {"rowCount": ("kept", 1), "sql": ("kept", 1)})


def test_a_broken_rule_of_severity_error_ends_the_run_after_the_load(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.contract("{metric: rowCount, mustBe: 5}", "{metric: nullValues, mustBe: 0, severity: warning}")
    code, summary = place.batch(*RIDES_LINES)
    assert (code, summary["state"]) == (6, "quality_broken")
    assert summary["why"] == "quality rules are broken: rides: rowCount is 4, must be 5"
    assert summary["tables"]["rides"]["written"] == 4
    assert place.query("SELECT COUNT(*) AS n FROM {0}.rides") == [{"n": 4}]
    printed = capsys.readouterr().out
    assert "quality of rides: 0 of 2 rules are kept" in printed
    assert "error: rowCount is 4, must be 5" in printed
    assert "warning: nullValues of zone is 1, must be 0" in printed
    lines = place.query(
        "SELECT source, state, CAST(JSON_VALUE(detail, '$.value') AS FLOAT64) AS value FROM {1}.ledger_current"
        " WHERE kind = 'quality' ORDER BY source"
    )
    assert lines == [
        {"source": "nullValues of zone", "state": "broken", "value": 1.0},
        {"source": "rowCount", "state": "broken", "value": 4.0},
    ]
    assert place.query("SELECT state FROM {1}.ledger_current WHERE kind = 'run'") == [{"state": "quality_broken"}]
    assert place.query("SELECT COUNT(*) AS n FROM {1}.leases WHERE run_id IS NOT NULL") == [{"n": 0}]
    place.contract("{metric: rowCount, mustBe: 0, severity: error}", "{metric: nullValues, mustBe: 1, severity: info}")
    code, summary = place.batch(*RIDES_LINES)  # the table has those rows already: none is written
    assert (code, values(summary)["rowCount"]) == (0, ("kept", 0))


def test_a_broken_warning_ends_nothing(place: Place) -> None:
    place.contract("{metric: rowCount, mustBe: 5, severity: Warning}")
    code, summary = place.batch(*RIDES_LINES)
    assert (code, summary["state"], values(summary)) == (0, "done", {"rowCount": ("broken", 4)})


UNCHECKABLE = [
    ("SELECT nothing FROM {object}", "nothing"),
    ("SELECT id, zone FROM {object} LIMIT 1", "not one value"),
    ("SELECT id FROM {object}", "4 rows of 1 columns, not one value"),
    ("SELECT id FROM {object} WHERE FALSE", "not one value"),
    ("SELECT MAX(zone) FROM {object}", "which is no number"),
    ("SELECT NULL FROM {object} LIMIT 1", "returns None, which is no number"),
    ("DELETE FROM {object} WHERE TRUE", "cannot be checked"),
]


def test_a_rule_that_cannot_be_checked_is_an_error_whatever_its_severity(place: Place) -> None:
    template = "{{type: sql, severity: info, mustBe: 0, name: n{}, query: '{}'}}"
    rules = [template.format(number, sql) for number, (sql, _) in enumerate(UNCHECKABLE)]
    place.contract(", ".join([*rules, "{metric: rowCount, mustBe: 4}"]))
    code, summary = place.batch(*RIDES_LINES)
    assert (code, summary["state"]) == (6, "quality_broken")
    found = {rule["rule"]: rule for rule in summary["tables"]["rides"]["quality"]}
    assert found["rowCount"]["outcome"] == "kept"
    for number, (_, message) in enumerate(UNCHECKABLE):
        rule = found[f"n{number}"]
        assert (rule["outcome"], rule["value"]) == ("failed", None)
        assert message in f"cannot be checked: {rule['why']}"
    assert place.query("SELECT COUNT(*) AS n FROM {0}.rides") == [{"n": 4}]


def test_orphans_are_counted_and_warn_unless_the_contract_says_error(place: Place) -> None:
    place.contract(relation="{to: zones.zone}")
    code, summary = place.batch(*RIDES_LINES, zones=[{"zone": "A"}, {"zone": "B"}])
    assert (code, values(summary)) == (0, {"zone without zones.zone": ("broken", 1)})
    strict = "{to: zones.zone, customProperties: [{property: severity, value: error}]}"
    place.contract(relation=strict)
    (place.folder / "raw" / "zones.ndjson").unlink()
    changed = {**RIDES_LINES[2], "fare": {"amount": -2}}
    code, summary = place.batch(changed)
    assert (code, values(summary)) == (6, {"zone without zones.zone": ("broken", 1)})
    code, summary = place.batch({**RIDES_LINES[2], "zone": "B"})
    assert (code, values(summary)) == (0, {"zone without zones.zone": ("kept", 0)})


def test_a_relationship_to_a_table_that_does_not_exist_cannot_be_checked(place: Place) -> None:
    place.contract(relation="{to: zones.zone}")
    code, summary = place.batch(*RIDES_LINES)
    assert (code, values(summary)) == (6, {"zone without zones.zone": ("failed", None)})


def test_the_same_run_again_checks_again(place: Place) -> None:
    """A run that ended with a broken rule is not done: its files are not loaded twice, its rules are checked again."""
    place.contract("{metric: rowCount, mustBe: 5}")
    code, summary = place.batch(*RIDES_LINES)
    assert code == 6
    place.contract("{metric: rowCount, mustBe: 4}")
    directory, _ = place.cloud
    words = [f"--local_dir={directory}", f"--contracts={place.folder / 'contracts'}", f"--dataset={place.dataset}"]
    words += [f"--input={place.folder / 'raw'}", f"--operations_dataset={place.dataset}_ops", "--local"]
    assert main(["batch", *words, f"--run_id={summary['run_id']}", "--runner=DirectRunner"]) == 0
    assert place.query("SELECT COUNT(*) AS n FROM {0}.rides") == [{"n": 4}]
    assert place.query("SELECT state FROM {1}.ledger_current WHERE kind = 'run'") == [{"state": "done"}]
