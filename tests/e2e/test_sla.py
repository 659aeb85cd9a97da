"""The command `sla` on tables that a real batch has loaded, and what its summary gives to others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher import main
from local.services import Endpoints
from tests.local.clients import bigquery_client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: trips
version: 1.0.0
schema:
  - name: trips
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: day, logicalType: date, partitioned: true}
      - {name: at, logicalType: timestamp}
  - name: bikes
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
slaProperties:
  - {property: freshness, value: 2, unit: d, element: trips.day}
  - {property: freshness, value: 1, unit: h, element: trips}
  - {property: latency, value: 3, unit: h, element: trips.at}
"""


def test_levels_are_measured(
    local_cloud: tuple[Path, Endpoints], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contracts, raw = tmp_path / "contracts", tmp_path / "raw"
    for folder in (contracts, raw):
        folder.mkdir()
    contract = contracts / "trips.odcs.yaml"
    contract.write_text(CONTRACT)
    now = datetime.now(UTC)
    trips = [
        {"id": hours, "day": f"{now - timedelta(days=hours):%F}", "at": f"{now - timedelta(hours=hours):%FT%TZ}"}
        for hours in (1, 2)
    ]
    (raw / "trips.ndjson").write_text("".join(json.dumps(trip) + "\n" for trip in trips))
    place = [f"--local_dir={local_cloud[0]}", f"--contracts={contracts}", "--dataset=sla", "--local"]
    summary = tmp_path / "summary.json"
    assert main(["batch", *place, f"--input={raw}", f"--summary={summary}", "--runner=DirectRunner"]) == 0
    capsys.readouterr()

    def measured(*options: str) -> tuple[int, list[dict[str, Any]]]:
        code = main(["sla", *place, "--format=json", *options])
        return code, json.loads(capsys.readouterr().out)

    code, rows = measured()
    assert code == 0
    assert [(row["level"], row["outcome"]) for row in rows] == [
        ("freshness of day", "kept"),
        ("freshness", "kept"),
        ("latency of at", "kept"),
    ]
    assert rows[2]["is"].startswith("2")
    for level, row in zip(json.loads(summary.read_text())["tables"]["trips"]["service_levels"], rows, strict=True):
        assert level["name"] == row["level"]
        (answer,) = bigquery_client(local_cloud[1]).query(level["sql"]).result()
        assert answer["seconds"] <= level["seconds"]
    contract.write_text(CONTRACT.replace("value: 3", "value: 1"))
    code, rows = measured()
    assert (code, [row["outcome"] for row in rows]) == (6, ["kept", "kept", "broken"])
    assert main(["sla", *place]) == 6
    assert "latency of at" in capsys.readouterr().out
    contract.write_text(CONTRACT.replace("element: trips.at", "element: trips.id"))
    code, rows = measured()
    assert (code, rows[2]["outcome"], rows[2]["why"]) == (6, "failed", "id is neither a date nor a timestamp")
    contract.write_text(CONTRACT.replace("element: trips}", "element: bikes}"))
    code, rows = measured()
    assert (code, rows[2]["table"], rows[2]["outcome"]) == (6, "bikes", "failed"), "there is no such table"
    contract.write_text(CONTRACT[: CONTRACT.index("slaProperties")])
    assert main(["sla", *place]) == 0
    assert "no contract has slaProperties" in capsys.readouterr().err
