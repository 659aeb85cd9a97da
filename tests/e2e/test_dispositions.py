"""What a second run makes of keys that are there already, and of a contract with a new column."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.sinks.merge import merge_statement
from contracts.odcs.tables import load
from pipelines.batch.preflight import prepare_batch
from tests.e2e.clouds import Cloud
from tests.e2e.offers import ADDED, FIRST, HEAD, SECOND, contract, doors, put
from tests.local_settings import local_batch_settings

pytestmark = pytest.mark.e2e
VERSIONED = (
    HEAD
    + """
  - name: states
    customProperties:
      - {property: writeDisposition, value: merge}
      - {property: versionBy, value: d_doubled}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: d, logicalType: integer}
      - {name: d_doubled, logicalType: integer, transformLogic: d * 2}
      - {name: v, logicalType: string}
"""
)
"""Its version is a derived column."""


@pytest.fixture(scope="module")
def runs(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The summaries of two runs; the second one's contract has a column more. The contracts are in the bucket."""
    folder, storage = tmp_path_factory.mktemp("runs"), Storage("local-project")
    storage.client.create_bucket("offers")
    found = []
    for name, records, added in (("first", FIRST, ""), ("second", SECOND, ADDED)):
        storage.write(f"gs://offers/contracts/offers_{name}.odcs.yaml", contract(added).encode())
        where = f"--contracts=gs://offers/contracts/*_{name}.odcs.yaml"
        found.append(cloud.batch(put(folder / name, records), where, f"--run_id={name}"))
    return found


def rows(cloud: Cloud, disposition: str) -> dict[str, dict[str, Any]]:
    found = cloud.rows(f"SELECT * FROM offers.offers_{disposition}")
    assert len({row["offer_id"] for row in found}) == len(found)
    return {row["offer_id"]: row for row in found}


@pytest.mark.parametrize(
    ("disposition", "ledger", "by_run"),
    [
        ("append", (3, 1, 2, 0), {"1": "first", "2": "first", "3": "first", "4": "second"}),
        ("merge", (3, 3, 0, 0), {"1": "first", "2": "second", "3": "second", "4": "second"}),
        ("replace", (3, 3, 0, 0), {"2": "second", "3": "second", "4": "second"}),
    ],
)
def test_a_second_run(
    disposition: str, ledger: tuple[int, ...], by_run: dict[str, str], cloud: Cloud, runs: list[dict[str, Any]]
) -> None:
    assert doors(runs[0], disposition) == (3, 3, 0, 0)
    assert doors(runs[1], disposition) == ledger
    found = rows(cloud, disposition)
    assert {key: row["_run_id"] for key, row in found.items()} == by_run
    assert found["3"]["tags"] == ([] if disposition == "append" else ["c"])
    # The added column is nullable in the table, since older rows have no value in it.
    assert {key: row["origin"] for key, row in found.items()} == {
        key: "b" if run == "second" else None for key, run in by_run.items()
    }
    assert found["2"]["_extra"] == {"other": {"x": [1, 2.5]}}


def test_a_row_that_differs_in_nothing_is_a_duplicate(cloud: Cloud, runs: list[dict[str, Any]], tmp_path: Path) -> None:
    before = rows(cloud, "merge")
    again = cloud.batch(
        put(tmp_path / "raw", SECOND),
        "--contracts=gs://offers/contracts/offers_second.odcs.yaml",
        "--tables=offers_merge",
        "--run_id=third",
    )
    assert doors(again, "merge") == (3, 0, 3, 0)
    assert rows(cloud, "merge") == before


def test_a_run_that_another_has_overtaken_is_refused(cloud: Cloud, runs: list[dict[str, Any]], tmp_path: Path) -> None:
    contracts = "--contracts=gs://offers/contracts/*_second.odcs.yaml"
    late, early = put(tmp_path / "late", [{**SECOND[2], "price": 7}]), put(tmp_path / "early", [SECOND[2]])
    begun = local_batch_settings(contracts, f"--input={early}", "--tables=offers_merge", "--run_id=early")
    prepare_batch(begun, print)  # and is interrupted here
    assert doors(cloud.batch(late, contracts, "--tables=offers_merge", "--run_id=late"), "merge") == (1, 1, 0, 0)
    found = cloud.batch(early, contracts, "--tables=offers_merge", "--run_id=early", code=2)
    assert (found["state"], doors(found, "merge")) == ("refused", (1, 0, 0, 0))
    assert "run late has written offers.offers_merge since this run began" in found["why"]
    assert rows(cloud, "merge")["4"]["price"] == 7


HELD = "TRUE"
"""A lease that is held."""
KINDS = {
    "integer": ("INT64", ["9", "10"]),
    "number": ("NUMERIC", ["NUMERIC '9.5'", "NUMERIC '10.25'"]),
    "timestamp": ("TIMESTAMP", ["TIMESTAMP '2024-05-01 23:00:00+00'", "TIMESTAMP '2024-05-01 23:00:00.000001+00'"]),
    "date": ("DATE", ["DATE '2024-05-09'", "DATE '2024-05-10'"]),
    "string": ("STRING", ["'v10'", "'v9'"]),
}
"""Of a column's type: its name in BigQuery, and an older and a newer version."""


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_order_versions_come_in_the_newest_stays(kind: str, cloud: Cloud) -> None:
    name, versions = KINDS[kind]
    text = HEAD + (
        "  - name: states\n    customProperties:\n      - {property: writeDisposition, value: merge}\n"
        "      - {property: versionBy, value: ver}\n    properties:\n"
        "      - {name: id, logicalType: integer, primaryKey: true}\n"
        f"      - {{name: ver, logicalType: {kind}}}\n      - {{name: v, logicalType: string}}\n"
    )
    (table,) = load([("states.odcs.yaml", text)]).values()
    warehouse = Warehouse("local-project", "US")
    warehouse.ensure_dataset("versions")
    arrivals = [("NULL", "none"), (versions[0], "older"), (versions[1], "newer"), (versions[1], "newer too")]
    orders = list(itertools.permutations(arrivals))
    target, staging = f"versions.into_{kind}", f"versions.staging_{kind}"
    columns = f"id INT64, ver {name}, v STRING, _source STRING, _position INT64, _hash INT64, _run_id STRING"
    warehouse.update(f"CREATE TABLE {target} ({columns}, _ingested_at TIMESTAMP)")
    for number in range(len(arrivals)):  # each order has a separate key
        rows = ", ".join(
            f"STRUCT({key} AS id, CAST({order[number][0]} AS {name}) AS ver, '{order[number][1]}' AS v)"
            for key, order in enumerate(orders)
        )
        warehouse.update(
            f"CREATE OR REPLACE TABLE {staging} AS SELECT id, ver, v, 's' AS _source, {number} AS _position,"
            f" id AS _hash, 'run-{number}' AS _run_id FROM UNNEST([{rows}])"
        )
        warehouse.update(merge_statement(table, target, staging, HELD))
    stored = {row["id"]: row["v"] for row in warehouse.query(f"SELECT id, v FROM {target}")}
    newest = {key: [v for _, v in order if v.startswith("newer")][-1] for key, order in enumerate(orders)}
    assert stored == newest, "of equal versions the one that comes later"


def test_an_older_version_in_a_later_run_is_a_duplicate(cloud: Cloud, tmp_path: Path) -> None:
    contracts = tmp_path / "states.odcs.yaml"
    contracts.write_text(VERSIONED)
    first = [{"id": 1, "d": 2, "v": "newer"}, {"id": 2, "d": 1, "v": "older"}, {"id": 3, "v": "none"}]
    one, other = [{"id": 1, "d": 1, "v": "late"}, {"id": 2, "d": 3, "v": "newest"}], [{"id": 2, "d": 2, "v": "between"}]
    other += [{"id": 3, "d": 0, "v": "some"}, {"id": 1, "v": "none"}]
    for folder, files in (("first", [first]), ("second", [one, other])):
        (tmp_path / folder).mkdir()
        for number, records in enumerate(files):
            (tmp_path / folder / f"states_{number}.json").write_text("\n".join(map(json.dumps, records)))
    options = [f"--contracts={tmp_path}", "--dataset=versioned"]
    cloud.batch(tmp_path / "first", *options, "--run_id=versions-1")
    found = cloud.batch(tmp_path / "second", *options, "--run_id=versions-2")["tables"]["states"]
    assert [found[door] for door in ("read", "written", "duplicate", "dead_letter")] == [5, 2, 3, 0]
    rows = cloud.rows("SELECT id, d_doubled, v FROM versioned.states ORDER BY id")
    assert rows == [
        {"id": 1, "d_doubled": 4, "v": "newer"},
        {"id": 2, "d_doubled": 6, "v": "newest"},
        {"id": 3, "d_doubled": 0, "v": "some"},
    ]
    # The first run's file again: nothing comes back.
    again = cloud.batch(tmp_path / "first", *options, "--run_id=versions-3")["tables"]["states"]
    assert (again["written"], again["duplicate"]) == (0, 3)
    assert cloud.rows("SELECT id, d_doubled, v FROM versioned.states ORDER BY id") == rows
