"""`reconcile --deep` finds nothing in two environments of one ledger, whatever the kind of a table, and what is amiss
in one of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.bigquery.warehouse import Warehouse
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.in_process import launch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BOOKS, ENVIRONMENTS = "shared_books", ("blue", "green")
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
schema:
  - name: stock
    customProperties: [{property: writeDisposition, value: merge}]
    properties: &columns
      - {name: id, logicalType: string, required: true, primaryKey: true}
      - {name: day, logicalType: date, required: true}
      - {name: amount, logicalType: number}
  - name: prices
    customProperties: [{property: writeDisposition, value: replace}]
    properties: *columns
  - name: notes
    customProperties: [{property: writeDisposition, value: append}]
    properties:
      - {name: id, logicalType: string, required: true}
      - {name: amount, logicalType: number}
  - name: visits
    customProperties:
      - {property: writeDisposition, value: append}
      - {property: partition, value: {expirationDays: 36500}}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true}
      - {name: day, logicalType: date, required: true, partitioned: true}
      - {name: amount, logicalType: number}
"""
TABLES = ("stock", "prices", "notes", "visits")


def write(folder: Path, file: str, numbers: range, amount: int) -> None:
    """A file of each table, with a refused record in it."""
    for table in TABLES:
        path = folder / "raw" / table / f"{file}.ndjson"
        path.parent.mkdir(parents=True, exist_ok=True)
        records = [{"id": f"{number}", "day": "2026-01-31", "amount": amount} for number in numbers]
        path.write_text("".join(json.dumps(record) + "\n" for record in [*records, {"amount": amount}]))


def test_two_environments_of_one_ledger(local_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    cloud, warehouse = Cloud(local_cloud[0]), Warehouse("local-project", "US")
    (tmp_path / "shop.odcs.yaml").write_text(CONTRACT)
    shared = (f"--contracts={tmp_path}", f"--operations_dataset={BOOKS}")
    write(tmp_path, "a", range(10), 1)
    for environment in ENVIRONMENTS:
        cloud.batch(tmp_path / "raw", *shared, f"--dataset={environment}", "--max_dead_letter_ratio=1")
    write(tmp_path, "b", range(5, 15), 2)  # keys of the first file again, with other values
    cloud.batch(tmp_path / "raw", *shared, "--dataset=blue", "--max_dead_letter_ratio=1")
    write(tmp_path, "a", range(12), 3)  # another version of the first file
    cloud.batch(tmp_path / "raw", *shared, "--dataset=blue", "--max_dead_letter_ratio=1")
    warehouse.query("DELETE FROM blue.visits WHERE id < '2'")  # their partition has expired

    def findings(environment: str) -> list[tuple[str, str]]:
        place = ("--local", f"--local_dir={local_cloud[0]}", "--format=json", f"--dataset={environment}")
        done = launch(["reconcile", *place, *shared, "--deep=all", "--no_topics"])
        assert done.code in (0, 3), done.stderr
        return [(each["code"], each["table"]) for each in json.loads(done.stdout)]

    assert {environment: findings(environment) for environment in ENVIRONMENTS} == {"blue": [], "green": []}
    warehouse.query("DELETE FROM green.notes WHERE id = '3'")
    warehouse.query("UPDATE blue.stock SET amount = 7 WHERE id = '3'")
    assert findings("blue") == [("values_differ", "blue.stock")]
    assert findings("green") == [("rows_missing", "green.notes")]
