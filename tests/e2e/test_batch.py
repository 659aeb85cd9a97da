"""The launcher as a user calls it, against real servers: the batch pipeline from raw files to tables."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.files.storage import Storage
from connectors.sources.stored_letters import decode_again
from contracts.odcs.tables import shipped
from operations.demo import QUERIES
from operations.demo_stream import SENT_BEFORE, STREAM_EVENTS
from sample_data.seed import SIZES
from tests import oracle
from tests.e2e.clouds import ROOT, Cloud

pytestmark = pytest.mark.e2e
RAW = "gs://ecommerce-data-lake/raw"
SUMS = ("read", "written", "duplicate", "dead_letter", "dead_letter_by_code")


@pytest.fixture(scope="module")
def demo(cloud: Cloud) -> str:
    """The demo, at its own size; what it printed."""
    done = cloud.launch("demo")
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def raw(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the raw files that the demo made."""
    folder, storage = tmp_path_factory.mktemp("raw"), Storage("local-project")
    for file in storage.list(RAW):
        (folder / file.uri.rsplit("/", 1)[-1]).write_bytes(storage.read(file.uri))
    return folder


@pytest.fixture(scope="module")
def run_id(cloud: Cloud, demo: str) -> str:
    (line,) = cloud.rows(
        "SELECT run_id FROM pipeline_operations.ledger_current WHERE kind = 'run' AND pipeline = 'batch'"
    )
    return str(line["run_id"])


@pytest.fixture(scope="module")
def first(cloud: Cloud, run_id: str) -> dict[str, Any]:
    """The summary of the demo's run, which is done already when it is asked for."""
    return cloud.batch(RAW, f"--run_id={run_id}")


@pytest.fixture(scope="module")
def expected(raw: Path) -> dict[str, oracle.Expected]:
    return oracle.expected(raw)


def sums(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: table[key] for key in SUMS} for name, table in tables.items()}


def test_the_demo_has_the_size_of_the_replaced_system(raw: Path, first: dict[str, Any]) -> None:
    assert SIZES == {"customers": 1_000, "products": 500, "transactions": 10_000, "events": 15_000}
    # Five records of each code in each format come on top where the dirty share is too small to hold them.
    read = {name: table["read"] for name, table in first["tables"].items()}
    assert all(read[{"events": "user_events"}.get(name, name)] >= size for name, size in SIZES.items())
    assert sum(read.values()) < 1.02 * sum(SIZES.values())


def test_the_ledger_agrees_with_the_manifest(first: dict[str, Any], raw: Path) -> None:
    assert first["state"] == "done"
    assert sums(first["tables"]) == sums(json.loads((raw / "manifest.json").read_text())["tables"])


def test_the_ledger_agrees_with_the_raw_files(first: dict[str, Any], expected: dict[str, oracle.Expected]) -> None:
    for name, table in expected.items():
        found = first["tables"][name]["sources"]
        assert {uri.removeprefix(f"{RAW}/") for uri in found} == set(table.sources)
        for file, counts in table.sources.items():
            assert found[f"{RAW}/{file}"] == {
                key: getattr(counts, key) for key in ("read", "written", "duplicate", "dead_letter")
            }


def test_tables_hold_what_the_raw_files_say(
    cloud: Cloud, first: dict[str, Any], expected: dict[str, oracle.Expected]
) -> None:
    for name, table in expected.items():
        stored = cloud.rows(f"SELECT * FROM ecommerce_data.{name}")
        key = {"customers": "customer_id", "products": "product_id", "transactions": "transaction_id"}.get(
            name, "event_id"
        )
        found = {row[key]: {column: value for column, value in row.items() if column[0] != "_"} for row in stored}
        assert len(found) == len(stored)
        assert found == table.rows


def test_the_demo_queries_answer_what_the_raw_files_say(
    cloud: Cloud, first: dict[str, Any], expected: dict[str, oracle.Expected]
) -> None:
    revenue = {row["category"]: Decimal(row["revenue"]) for row in cloud.rows(QUERIES["revenue by category"])}
    assert revenue == oracle.revenue_by_category(expected)
    funnel = {
        row["event_type"]: oracle.Funnel(row["events"], row["customers"]) for row in cloud.rows(QUERIES["funnel"])
    }
    assert funnel == oracle.funnel(expected)
    letters = {
        (row["table"], row["error_code"]): row["dead_letters"]
        for row in cloud.rows(QUERIES["dead letters"])
        if row["table"] in expected
    }
    assert letters == oracle.dead_letters(expected)


def test_the_demo_prints_the_ledger_and_the_answers(demo: str, expected: dict[str, oracle.Expected]) -> None:
    cells = [re.split(" {2,}", line) for line in demo.splitlines()]
    for name, table in expected.items():
        counts = [f"{number:,}" for number in (table.read, table.written, table.duplicate, table.dead_letter)]
        assert [name, *counts] in cells
        for code, number in table.by_code.items():
            assert [name, code, f"{number:,}"] in cells
    for kind, found in oracle.funnel(expected).items():
        assert [kind, str(found.events), str(found.customers)] in cells
    for category, revenue in oracle.revenue_by_category(expected).items():
        assert any(row[0] == category and Decimal(row[1]) == revenue for row in cells if len(row) == 3)
    for (name, code), number in oracle.dead_letters(expected).items():
        assert [name, code, str(number)] in cells
    assert "Try next:" in demo


def test_the_demo_ends_with_a_stream_that_is_killed_and_yet_exact(cloud: Cloud, demo: str) -> None:
    said = re.findall(r"the stream has written ([0-9,]+) of ([0-9,]+) rows; killed it", re.sub(r"\s+", " ", demo))
    ((killed, of),) = [[int(number.replace(",", "")) for number in numbers] for numbers in said]
    assert of == STREAM_EVENTS
    assert STREAM_EVENTS // 3 <= killed <= SENT_BEFORE < 0.9 * STREAM_EVENTS
    rows_shown = [re.split(" {2,}", line) for line in demo.splitlines()]
    counts = {row[0]: row[1:] for row in rows_shown if len(row) > 1}
    sent, ledger, tables = (counts[name] for name in ("sent to Kafka", "ledger", "in the tables"))
    assert counts["in the table when killed"] == [str(killed)]
    assert sent == ledger
    assert [sent[1], sent[3]] == tables
    (token,) = set(re.findall(r"demo-([0-9a-f]{6})", demo))
    dataset = f"demo_{token}"
    (rows,) = cloud.rows(
        f"SELECT COUNT(*) AS n, COUNT(DISTINCT event_id) AS `keys` FROM {dataset}.user_events_streaming"
    )
    assert rows == {"n": STREAM_EVENTS, "keys": STREAM_EVENTS}


def test_the_questions_of_the_documentation_are_answered(cloud: Cloud, first: dict[str, Any]) -> None:
    questions = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/how-to/read-dead-letters.md").read_text(), re.DOTALL)
    assert len(questions) == 3
    for question in questions:
        assert cloud.rows(question), question


def test_the_same_run_again_changes_nothing(cloud: Cloud, run_id: str, first: dict[str, Any]) -> None:
    before = cloud.rows("SELECT * FROM ecommerce_data.transactions ORDER BY transaction_id")
    again = cloud.batch(RAW, f"--run_id={run_id}")
    assert again["tables"] == first["tables"]
    assert cloud.rows("SELECT * FROM ecommerce_data.transactions ORDER BY transaction_id") == before


def test_another_run_on_the_same_files_finds_only_duplicates(cloud: Cloud, first: dict[str, Any]) -> None:
    letters = "SELECT COUNT(*) AS n, COUNT(DISTINCT dead_letter_id) AS ids FROM pipeline_operations.dead_letters"
    before = cloud.rows(letters)
    second = cloud.batch(RAW, "--run_id=second")
    for table in second["tables"].values():
        assert table["written"] == 0
        assert table["read"] == table["duplicate"] + table["dead_letter"]
    assert cloud.rows(letters) == before
    assert before[0]["n"] == before[0]["ids"]
    staging = cloud.rows("SELECT table_name FROM pipeline_operations.INFORMATION_SCHEMA.TABLES")
    assert not [row for row in staging if row["table_name"].startswith("staging_")]


def test_only_new_keeps_the_files_that_a_run_began_with(cloud: Cloud, first: dict[str, Any], run_id: str) -> None:
    assert (
        cloud.batch(RAW, "--only_new", f"--run_id={run_id}")["tables"] == first["tables"]
    )  # its own files are its own


def test_a_finished_run_without_files_takes_none_later(cloud: Cloud, first: dict[str, Any]) -> None:
    assert cloud.batch(RAW, "--only_new", "--run_id=without_files")["tables"] == {}
    done = cloud.launch("batch", "--runner=DirectRunner", "--local", f"--input={RAW}", "--run_id=without_files", code=2)
    assert "has read other files" in done.stderr


def test_a_run_id_with_other_files_is_refused(cloud: Cloud, tmp_path: Path, run_id: str) -> None:
    (tmp_path / "customers.csv").write_text("customer_id,email\nc1,a@example.com\n")
    done = cloud.launch(
        "batch", "--runner=DirectRunner", "--local", f"--input={tmp_path}", f"--run_id={run_id}", code=2
    )
    assert "has read other files" in done.stderr


def test_too_many_dead_letters_load_nothing(cloud: Cloud, tmp_path: Path) -> None:
    lines = [f"new{n},{'no address' if n % 2 else f'c{n}@example.com'}" for n in range(200)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer_id,email", *lines]))
    found = cloud.batch(tmp_path, code=4)
    assert found["state"] == "too_many_dead_letters"
    assert found["tables"]["customers"]["dead_letter"] == 100
    assert cloud.rows("SELECT 1 FROM ecommerce_data.customers WHERE customer_id LIKE 'new%'") == []
    assert len(cloud.rows(f"SELECT 1 FROM pipeline_operations.dead_letters WHERE run_id = '{found['run_id']}'")) == 100


def test_duplicates_that_are_kept_are_no_dead_letters_of_the_ledger(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("customer_id,email\nk1,a@example.com\nk1,b@example.com\n")
    found = cloud.batch(tmp_path, "--keep_duplicates", "--run_id=kept")
    assert sums(found["tables"])["customers"] == {
        "read": 2,
        "written": 1,
        "duplicate": 1,
        "dead_letter": 0,
        "dead_letter_by_code": {},
    }
    assert cloud.rows("SELECT email FROM ecommerce_data.customers WHERE customer_id = 'k1'") == [
        {"email": "b@example.com"}
    ]
    letters = cloud.rows("SELECT * FROM pipeline_operations.dead_letters WHERE run_id = 'kept'")
    assert [(row["error_code"], row["raw"]) for row in letters] == [("duplicate", b"k1,a@example.com")]
    letter = {**letters[0], "attributes": json.dumps(letters[0]["attributes"])}
    assert decode_again(letter, shipped()["customers"], 10_000_000, datetime.now(UTC).date()) is None


def test_a_new_table_is_one_contract_and_one_file(cloud: Cloud, tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    (contracts / "orders.odcs.yaml").write_text(
        """
apiVersion: v3.0.2
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - {name: order_id, logicalType: string, primaryKey: true, required: true}
      - name: items
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: sku, logicalType: string, required: true}
            - {name: quantity, logicalType: integer, logicalTypeOptions: {minimum: 1}}
"""
    )
    (tmp_path / "orders.json.gz").write_bytes(
        gzip.compress(
            b'{"order_id":"o1","items":[{"sku":"a","quantity":2},{"sku":"b"}]}\n'
            b'{"order_id":"o2","items":[{"sku":"a","quantity":0}]}\n'
        )
    )
    found = cloud.batch(tmp_path, f"--contracts={contracts}")
    assert sums(found["tables"])["orders"]["dead_letter_by_code"] == {"invalid_value": 1}
    assert cloud.rows("SELECT order_id, items FROM ecommerce_data.orders") == [
        {"order_id": "o1", "items": [{"sku": "a", "quantity": 2}, {"sku": "b", "quantity": None}]}
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch", "--runner", "DirectRunner"], "--project, --location, --input"),
        (["batch", "--local", "--max_dead_leter_ratio=0.1"], "did you mean --max_dead_letter_ratio"),
        (["batch", "--local", "--input=/nowhere"], "there is no folder /nowhere"),
        (["batch", "--local", "--input=gs://no-such-bucket/raw"], "there is no bucket"),
        (["batch", "--local", "--tables=orders"], "no contract has a table orders"),
        (["query", "SELECT nothing FROM nowhere", "--local"], "query:"),
        (["nonsense"], "unknown command"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(cloud: Cloud, arguments: list[str], said: str) -> None:
    done = cloud.launch(*arguments, code=2)
    assert said in done.stderr
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr


def test_the_airflow_form_is_taken(cloud: Cloud, run_id: str) -> None:
    done = cloud.launch(
        "--runner=DirectRunner",
        "--pipeline=batch",
        "--labels=airflow=1",
        "--local",
        f"--input={RAW}",
        f"--run_id={run_id}",
    )
    assert "done already" in done.stderr


def test_rows_carry_their_lineage(cloud: Cloud, raw: Path, run_id: str) -> None:
    row = cloud.rows(f"SELECT * FROM ecommerce_data.user_events WHERE _source = '{RAW}/user_events.json' LIMIT 1")[0]
    record = (raw / "user_events.json").read_bytes()[row["_position"] :].split(b"\n", 1)[0]
    assert json.loads(record)["event_id"] == row["event_id"]
    assert row["_run_id"] == run_id
    assert row["_ingested_at"] <= datetime.now(UTC)
