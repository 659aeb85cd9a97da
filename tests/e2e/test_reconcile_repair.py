"""`reconcile --repair` does what is safe, names the rest, and asks first."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.in_process import Launch, launch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
DATA, BOOKS = "repaired", "repaired_books"
ORDERS, STOCK, LETTERS, LEDGER = f"{DATA}.orders", f"{DATA}.stock", f"{BOOKS}.dead_letters", f"{BOOKS}.ledger"
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
schema:
  - name: orders
    customProperties: [{property: writeDisposition, value: append}]
    properties: &columns
      - {name: id, logicalType: string, required: true, primaryKey: true}
      - {name: amount, logicalType: number}
      - {name: tags, logicalType: array, items: {logicalType: string}}
      - {name: note, logicalType: object, physicalType: JSON}
  - name: stock
    customProperties: [{property: writeDisposition, value: merge}]
    properties: *columns
"""
COPY = "INSERT INTO {0} SELECT * FROM {0} WHERE {1}"
STAGING = f"staging_{'0' * 12}_orders"


class Site:
    """A warehouse with 20 orders of two files, ten articles, and a dead letter of each file."""

    def __init__(self, directory: Path, folder: Path) -> None:
        self.directory, self.folder = directory, folder
        self.warehouse = Warehouse("local-project", "US")
        (folder / "shop.odcs.yaml").write_text(CONTRACT)
        for file, numbers in (("orders/a", range(10)), ("orders/b", range(5, 20)), ("stock/a", range(10))):
            path = folder / "raw" / f"{file}.ndjson"
            path.parent.mkdir(parents=True, exist_ok=True)
            records = [{"id": f"{n}", "amount": n, "tags": ["x", "y"], "note": {"n": n}} for n in numbers]
            path.write_text("".join(json.dumps(record) + "\n" for record in [*records, {"amount": 1}]))
        Cloud(directory).batch(folder / "raw", *self.names, "--max_dead_letter_ratio=1")

    @property
    def names(self) -> list[str]:
        """The options that name its contracts and datasets."""
        return [f"--contracts={self.folder}", f"--dataset={DATA}", f"--operations_dataset={BOOKS}"]

    def reconcile(self, *arguments: str) -> Launch:
        """Run the command."""
        shared = ["reconcile", "--local", f"--local_dir={self.directory}", "--no_topics", *self.names]
        return launch([*shared, *arguments])

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """What a repair must restore."""
        return {
            name: self.warehouse.query(f"SELECT * EXCEPT ({but}) FROM {name} ORDER BY {by}")
            for name, but, by in (
                (ORDERS, "_run_id, _ingested_at", "id"),
                (STOCK, "_ingested_at", "id"),
                (LETTERS, "run_id, first_failed_at, failed_at", "dead_letter_id"),
            )
        }


@pytest.fixture(scope="module")
def site(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(local_cloud[0], tmp_path_factory.mktemp("site"))


def test_what_is_safe_is_done_and_then_nothing_is_found(site: Site) -> None:
    before, query = site.contents(), site.warehouse.query
    query(COPY.format(STOCK, "id IN ('1', '2')"))
    query(COPY.format(STOCK, "id = '2' LIMIT 1"))
    query(f"DELETE FROM {ORDERS} WHERE id IN ('3', '7', '11')")
    query(f"DELETE FROM {LETTERS} WHERE source LIKE '%orders/a%'")
    query(COPY.format(LETTERS, "source LIKE '%stock%'"))
    query(COPY.format(LEDGER, "kind = 'loaded' AND `table` = 'stock'"))
    query(f"CREATE TABLE {BOOKS}.{STAGING} AS SELECT 1 AS n")
    found = {finding["code"] for finding in json.loads(site.reconcile("--format=json").stdout)}
    assert found == {
        *("duplicate_keys", "rows_unknown", "rows_missing", "dead_letters_missing", "dead_letters_unknown"),
        *("ledger_doubled", "staging_left"),
    }
    done = site.reconcile("--repair", "--yes")
    assert done.code == 0, done.stderr
    assert "not repaired" not in done.stderr
    for said in (
        f"doubled rows of {STOCK}: drop 3, keep one of each",
        f"doubled dead letters about {STOCK}: drop 1, keep one of each",
        f"doubled lines of the ledger about {STOCK}: drop 1, keep one of each",
        f"/orders/a.ndjson into {ORDERS} again, as run repair-",
        f"/orders/b.ndjson into {ORDERS} again, as run repair-",
        f"drop the staging table {BOOKS}.{STAGING}",
    ):
        assert said in done.stderr
    assert site.contents() == before
    assert site.reconcile("--deep=all").code == 0
    assert site.reconcile("--repair", "--yes").code == 0
    assert site.reconcile("--run=nobody", "--repair", "--yes").code == 2


@pytest.mark.parametrize(
    ("sql", "codes"),
    [
        (f"DELETE FROM {STOCK} WHERE id = '4'", {"rows_missing"}),
        (f"UPDATE {ORDERS} SET amount = 99 WHERE id = '4'", {"values_differ"}),
        (
            f"INSERT INTO {STOCK} SELECT * REPLACE (99 AS amount) FROM {STOCK} WHERE id = '4'",
            {"rows_unknown", "duplicate_keys", "values_differ"},
        ),
        (f"UPDATE {LEDGER} SET duplicate = duplicate + 1 WHERE `table` = 'stock'", {"ledger_unbalanced"}),
    ],
    ids=["a row that another file may have replaced", "a value", "two rows of a key", "a ledger that does not balance"],
)
def test_what_is_not_safe_is_named(site: Site, sql: str, codes: set[str]) -> None:
    changed = next(name for name in (STOCK, ORDERS, LEDGER) if name in sql.partition(" SELECT")[0])
    kept = f"{BOOKS}.kept_{changed.partition('.')[2]}"
    site.warehouse.query(f"CREATE OR REPLACE TABLE {kept} AS SELECT * FROM {changed}")
    try:
        site.warehouse.query(sql)
        done = site.reconcile("--repair", "--yes", "--deep=all", "--format=json")
    finally:
        site.warehouse.query(f"DELETE FROM {changed} WHERE TRUE")
        site.warehouse.query(f"INSERT INTO {changed} SELECT * FROM {kept}")
    assert done.code == 3
    assert {finding["code"] for finding in json.loads(done.stdout)} == codes
    assert all(f"not repaired: {code} in " in done.stderr for code in codes)
    assert "there is nothing that can be repaired safely" in done.stderr


def test_it_asks_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    left = f"{BOOKS}.{STAGING}"
    site.warehouse.query(f"CREATE TABLE {left} AS SELECT 1 AS n")
    refused = site.reconcile("--repair")
    assert refused.code == 2
    assert "error: --repair asks before it changes anything, and nobody can answer here: give --yes" in refused.stderr
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    answers = iter(["", "n", "y"])
    monkeypatch.setattr(builtins, "input", lambda *_: next(answers))
    codes = [site.reconcile("--repair").code for _ in range(3)]
    assert codes == [3, 3, 0]
    assert site.warehouse.existing(BOOKS, STAGING) is None


def test_a_table_that_a_run_writes_is_left_alone(site: Site) -> None:
    leases = Leases(site.warehouse, BOOKS)
    site.warehouse.query(COPY.format(STOCK, "id = '1'"))
    leases.take([STOCK], "another", "token")
    try:
        done = site.reconcile("--repair", "--yes")
    finally:
        leases.release([STOCK], "token")
    assert done.code == 2
    assert f"table {STOCK} is being written by run another" in done.stderr
    assert site.reconcile("--repair", "--yes").code == 0


def test_folders_are_needed_before_anything_is_compared(site: Site) -> None:
    done = launch(["reconcile", "--project=p", "--location=EU", "--repair", "--yes"])
    assert done.code == 2
    assert "--processed" in done.stderr
