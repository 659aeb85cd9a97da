"""`reconcile` finds nothing in a warehouse as the runs left it, and each corruption of it by its name.

One batch is loaded, and a stream's rows and lines are put next to it. Each corruption is made in the tables, found and
undone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from launcher import main
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
DATA, BOOKS = "reconciled", "reconciled_operations"
CLICKS = "user_events_streaming"
NAMES = [f"--dataset={DATA}", f"--operations_dataset={BOOKS}", "--no_topics"]
FIRST_RUN, REFUSED_RUN = "reconciled-first", "reconciled-refused"
PARTITION = "kafka://clicks/0"
CORRUPTED = (
    f"{DATA}.customers",
    f"{DATA}.transactions",
    f"{DATA}.{CLICKS}",
    f"{BOOKS}.ledger",
    f"{BOOKS}.dead_letters",
)
"""Tables that are changed, and restored afterwards."""
ONE = f"_position = (SELECT MIN(_position) FROM {DATA}.customers)"
FIRST = f"(SELECT {{column}} FROM {DATA}.customers WHERE customer_id = (SELECT MIN(customer_id) FROM {DATA}.customers))"
ONE_CLICK = f"_position = (SELECT MIN(_position) FROM {DATA}.{CLICKS})"
LETTER = f"dead_letter_id = (SELECT MIN(dead_letter_id) FROM {BOOKS}.dead_letters WHERE run_id = '{{run}}')"
ONE_LETTER = LETTER.format(run=FIRST_RUN)
MIDDLE = "kind = 'offsets' AND first_offset = 4"
LOADED = "kind = 'loaded' AND `table` = 'customers'"
COPY = "INSERT INTO {table} SELECT * FROM {table} WHERE {which}"

CORRUPTIONS: Mapping[str, tuple[str, set[str]]] = {
    "a row is deleted": (f"DELETE FROM {DATA}.customers WHERE {ONE}", {"rows_missing"}),
    "a file's rows are deleted": (f"DELETE FROM {DATA}.customers WHERE TRUE", {"rows_missing"}),
    "a row is doubled": (
        COPY.format(table=f"{DATA}.transactions", which="_position = 0 OR TRUE LIMIT 1"),
        {"rows_unknown", "duplicate_keys"},
    ),
    "a row of an unknown run": (
        f"UPDATE {DATA}.customers SET _run_id = 'nobody' WHERE {ONE}",
        {"rows_missing", "rows_unknown"},
    ),
    "a row of an unknown file": (
        f"UPDATE {DATA}.customers SET _source = 'gs://b/other.csv' WHERE {ONE}",
        {"rows_missing", "rows_unknown"},
    ),
    "a loaded line is missing": (
        f"DELETE FROM {BOOKS}.ledger WHERE kind IN ('loaded', 'staged') AND `table` = 'customers'",
        {"rows_unknown", "dead_letters_unknown"},
    ),
    "a loaded line is doubled": (COPY.format(table=f"{BOOKS}.ledger", which=LOADED), {"ledger_doubled"}),
    "a line counts one row more": (
        f"UPDATE {BOOKS}.ledger SET written = written + 1, `read` = `read` + 1 WHERE {LOADED}",
        {"rows_missing", "file_differs"},
    ),
    "a line does not balance": (
        f"UPDATE {BOOKS}.ledger SET duplicate = duplicate + 1 WHERE {LOADED}",
        {"ledger_unbalanced"},
    ),
    "a line hides a dead letter": (
        f"UPDATE {BOOKS}.ledger SET dead_letter = dead_letter - 1, duplicate = duplicate + 1 WHERE {LOADED}",
        {"dead_letters_unknown"},
    ),
    "a line has a record more than its file": (
        f"UPDATE {BOOKS}.ledger SET `read` = `read` + 1, duplicate = duplicate + 1 WHERE {LOADED}",
        {"file_differs"},
    ),
    "a dead letter is missing": (f"DELETE FROM {BOOKS}.dead_letters WHERE {ONE_LETTER}", {"dead_letters_missing"}),
    "a dead letter of a refused run is missing": (
        f"DELETE FROM {BOOKS}.dead_letters WHERE {LETTER.format(run=REFUSED_RUN)}",
        {"dead_letters_missing"},
    ),
    "a dead letter is doubled": (
        COPY.format(table=f"{BOOKS}.dead_letters", which=ONE_LETTER),
        {"dead_letters_unknown"},
    ),
    "a dead letter is of another source": (
        f"UPDATE {BOOKS}.dead_letters SET source = 'gs://b/other.csv' WHERE {ONE_LETTER}",
        {"dead_letters_missing", "dead_letters_unknown"},
    ),
    "a row is a dead letter too": (
        f"UPDATE {BOOKS}.dead_letters SET position = {FIRST.format(column='_position')} WHERE dead_letter_id ="
        f" (SELECT MIN(dead_letter_id) FROM {BOOKS}.dead_letters WHERE source = {FIRST.format(column='_source')})",
        {"record_twice"},
    ),
    "a click is deleted": (f"DELETE FROM {DATA}.{CLICKS} WHERE {ONE_CLICK}", {"rows_missing"}),
    "a click is doubled": (COPY.format(table=f"{DATA}.{CLICKS}", which=ONE_CLICK), {"rows_unknown", "duplicate_keys"}),
    "a key of a click is that of another": (
        f"UPDATE {DATA}.{CLICKS} SET event_id = (SELECT MAX(event_id) FROM {DATA}.{CLICKS}) WHERE {ONE_CLICK}",
        {"duplicate_keys"},
    ),
    "a line of offsets is missing": (f"DELETE FROM {BOOKS}.ledger WHERE {MIDDLE}", {"offsets_missing", "rows_unknown"}),
    "a line of offsets ends early": (
        f"UPDATE {BOOKS}.ledger SET last_offset = last_offset - 1, `read` = `read` - 1, duplicate = duplicate - 1"
        f" WHERE {MIDDLE}",
        {"offsets_missing"},
    ),
    "a line of offsets counts a row more": (
        f"UPDATE {BOOKS}.ledger SET written = written + 1, duplicate = duplicate - 1 WHERE {MIDDLE}",
        {"rows_missing"},
    ),
    "a line of offsets does not balance": (
        f"UPDATE {BOOKS}.ledger SET `read` = `read` + 1 WHERE {MIDDLE}",
        {"ledger_unbalanced"},
    ),
    "a line of offsets counts a dead letter": (
        f"UPDATE {BOOKS}.ledger SET dead_letter = 1, duplicate = duplicate - 1 WHERE {MIDDLE}",
        {"dead_letters_missing"},
    ),
}


@pytest.fixture(scope="module")
def warehouse(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse after two runs of a batch, with a stream's rows and lines, and copies of all that is corrupted."""
    cloud, folder = Cloud(local_cloud[0]), tmp_path_factory.mktemp("raw")
    counts = ("--customers=60", "--products=20", "--transactions=60", "--events=60", "--dirty=0.3")
    cloud.launch("generate", f"--output={folder}", *counts)
    batch = ("batch", "--runner=DirectRunner", "--local", *NAMES[:2])
    # None of these is a contradiction: a second run finds all of the first; one stores duplicates as dead letters, and
    # replaces rows; one loads nothing, because it has too many dead letters, and stores those.
    cloud.launch(*batch, f"--input={folder}", f"--run_id={FIRST_RUN}")
    cloud.launch(*batch, f"--input={folder}")
    for seed, transactions, more, code in (
        (7, 60, ("--keep_duplicates",), 0),
        (8, 200, ("--max_dead_letter_ratio=0.1", f"--run_id={REFUSED_RUN}"), 4),
    ):
        other = tmp_path_factory.mktemp("other")
        cloud.launch("generate", f"--output={other}", *counts, f"--transactions={transactions}", f"--seed={seed}")
        cloud.launch(*batch, f"--input={other}", *more, code=code)
    warehouse = Warehouse("local-project", "US")
    with_clicks(warehouse)
    for table in CORRUPTED:
        warehouse.query(f"CREATE TABLE {kept(table)} AS SELECT * FROM {table}")
    return warehouse


def with_clicks(warehouse: Warehouse) -> None:
    """Ten offsets of a topic in three lines: five rows, the others duplicates."""
    warehouse.query(f"CREATE TABLE {DATA}.{CLICKS} AS SELECT * FROM {DATA}.user_events LIMIT 5")
    rows = warehouse.query(f"SELECT event_id FROM {DATA}.{CLICKS} ORDER BY event_id")
    for offset, row in zip((0, 2, 4, 6, 8), rows, strict=True):
        warehouse.update(
            f"UPDATE {DATA}.{CLICKS} SET _source = '{PARTITION}', _position = {offset}, _run_id = 'clicks'"
            " WHERE event_id = @key",
            key=row["event_id"],
        )
    for first, last, written in ((0, 3, 2), (4, 7, 2), (8, 9, 1)):
        warehouse.query(
            f"INSERT INTO {BOOKS}.ledger (run_id, pipeline, kind, `dataset`, `table`, source, cluster, topic_id,"
            " first_offset, last_offset, `read`, written, duplicate, dead_letter, recorded_at) VALUES"
            f" ('clicks', 'stream', 'offsets', '{DATA}', '{CLICKS}', '{PARTITION}', 'c', 't', {first}, {last},"
            f" {last - first + 1}, {written}, {last - first + 1 - written}, 0, CURRENT_TIMESTAMP())"
        )


def kept(table: str) -> str:
    """The name of the copy of a table."""
    return f"{BOOKS}.kept_{table.replace('.', '_')}"


def found(capsys: pytest.CaptureFixture[str], directory: Path, code: int, *more: str) -> list[dict[str, Any]]:
    """What reconcile finds."""
    capsys.readouterr()
    assert main(["reconcile", "--local", f"--local_dir={directory}", "--format=json", *NAMES, *more]) == code
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return findings


def test_nothing_is_found_in_a_clean_warehouse(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(capsys, local_cloud[0], 0) == []
    assert main(["reconcile", "--local", f"--local_dir={local_cloud[0]}", *NAMES]) == 0
    said = capsys.readouterr().out
    sql = f"SELECT COUNT(DISTINCT source) AS n FROM {BOOKS}.ledger WHERE kind = 'loaded'"
    assert f"files counted again: {warehouse.query(sql)[0]['n']}\n" in said
    assert "gone" not in said
    assert found(capsys, local_cloud[0], 0, f"--run={FIRST_RUN}") == []


def test_the_dead_letters_of_a_killed_run_are_found_while_its_lease_lasts(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was killed after its lines holds its tables until the lease expires: it may write, and has written."""
    leases, table = Leases(warehouse, BOOKS), f"{DATA}.customers"
    leases.take([table], FIRST_RUN, "killed")
    try:
        assert found(capsys, local_cloud[0], 0, "--no_files") == []
    finally:
        leases.release([table], "killed")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_found_by_its_name(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    sql, codes = CORRUPTIONS[name]
    found_name = re.match(r"(?:UPDATE|DELETE FROM|INSERT INTO) (\S+)", sql)
    assert found_name
    changed = found_name[1]
    try:
        warehouse.query(sql)
        about = (f"--table={changed.rpartition('.')[2]}",) if changed.startswith(f"{DATA}.") else ()
        files = () if "file_differs" in codes else ("--no_files",)
        findings = found(capsys, local_cloud[0], 3, *about, *files)
    finally:
        warehouse.query(f"DELETE FROM {changed} WHERE TRUE")
        warehouse.query(f"INSERT INTO {changed} SELECT * FROM {kept(changed)}")
    assert {finding["code"] for finding in findings} == codes
    assert all(finding["count"] > 0 and finding["fix"] for finding in findings)


def test_a_file_that_has_changed_is_named_and_no_contradiction(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = warehouse.query(f"SELECT MAX(source) AS path FROM {BOOKS}.ledger WHERE source LIKE '%/products.%'")
    with Path(row["path"]).open("a") as file:
        file.write("\n")
    assert main(["reconcile", "--local", f"--local_dir={local_cloud[0]}", *NAMES]) == 0
    assert "files that are gone or have changed since: 1\n" in capsys.readouterr().out


def test_a_staging_table_without_a_run_is_found(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    wait_until(lambda: found(capsys, local_cloud[0], 0, "--no_files") == [])
    left = f"staging_{'0' * 12}_customers"
    for name in (left, "staging_orders"):  # the other is somebody's own
        warehouse.query(f"CREATE TABLE {DATA}.{name} AS SELECT 1 AS n")
    try:
        (finding,) = found(capsys, local_cloud[0], 3, "--no_files")
    finally:
        warehouse.drop(DATA, left)
    assert (finding["code"], finding["table"]) == ("staging_left", f"{DATA}.{left}")


def test_a_table_that_was_dropped_is_missing(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    table = f"{DATA}.{CLICKS}"
    warehouse.drop(DATA, CLICKS)
    try:
        (finding,) = found(capsys, local_cloud[0], 3, "--no_files", f"--table={CLICKS}")
    finally:
        warehouse.query(f"CREATE TABLE {table} AS SELECT * FROM {kept(table)}")
    assert (finding["code"], finding["expected"], finding["found"]) == ("rows_missing", 5, 0)


def test_what_is_not_compared_is_named(
    warehouse: Warehouse, local_cloud: tuple[Path, Endpoints], capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.query(f"UPDATE {BOOKS}.ledger SET `dataset` = 'elsewhere' WHERE {MIDDLE}")
    try:
        main(["reconcile", "--local", f"--local_dir={local_cloud[0]}", "--no_files", *NAMES])
    finally:
        warehouse.query(f"UPDATE {BOOKS}.ledger SET `dataset` = '{DATA}' WHERE {MIDDLE}")
    assert f"not compared, of other datasets or contracts: elsewhere.{CLICKS}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--table=custmers", "error: --table: no contract has a table custmers; there are customers, "),
        ("--run=nobody", "has no line of run nobody about these tables since "),
    ],
)
def test_what_cannot_be_compared_is_refused(
    warehouse: Warehouse,
    local_cloud: tuple[Path, Endpoints],
    capsys: pytest.CaptureFixture[str],
    option: str,
    said: str,
) -> None:
    assert main(["reconcile", "--local", f"--local_dir={local_cloud[0]}", *NAMES, option]) == 2
    assert said in capsys.readouterr().err
