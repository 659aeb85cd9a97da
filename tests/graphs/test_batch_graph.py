"""The batch's graph from files to the balance, with a warehouse in memory."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.pvalue import PCollection
from pyarrow import orc

from contracts.table import Column, Identity, Kind, Table, WriteDisposition
from tests.graphs.batches import batch_over, run_batch
from transforms.coders import TableRows
from transforms.ledger import MissingColumns, Shard, State

COLUMNS = (Column("id", Kind.STRING, required=True), Column("v", Kind.STRING))
ITEMS = Table("items", COLUMNS, ("id",))
TABLES = {"items": ITEMS}


def lines(*records: dict[str, object] | str) -> bytes:
    """Records as NDJSON."""
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def test_files_of_every_format_come_into_one_table(folder: Path) -> None:
    (folder / "items_1.csv").write_text("id,v\na,csv\n")
    (folder / "items_2.ndjson").write_bytes(lines({"id": "b", "v": "ndjson"}))
    (folder / "items_3.json.gz").write_bytes(gzip.compress(b'[{"id": "c", "v": "array"}]'))
    pq.write_table(pa.table({"id": ["d"], "v": ["parquet"]}), folder / "items_4.parquet")
    (folder / "items_5.csv").write_text("id,v\n")
    fields = [{"name": name, "type": "string"} for name in ("id", "v")]
    schema = {"type": "record", "name": "item", "fields": fields}
    with (folder / "items_6.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"id": "e", "v": "avro"}], "deflate")
    orc.write_table(pa.table({"id": ["f"], "v": ["orc"]}), folder / "items_7.orc")
    loaded = run_batch(batch_over(folder, TABLES))
    assert sorted((row["id"], row["v"]) for row in loaded.rows["items"]) == [
        ("a", "csv"),
        ("b", "ndjson"),
        ("c", "array"),
        ("d", "parquet"),
        ("e", "avro"),
        ("f", "orc"),
    ]
    assert {row["_run_id"] for row in loaded.rows["items"]} == {"run"}
    assert len(loaded.balance.counts["items"]) == 7, "a file without a record has a line, too"
    assert (loaded.balance.state, loaded.doors("items")) == (None, (6, 6, 0, 0))


@pytest.mark.parametrize(
    ("disposition", "kept"), [(WriteDisposition.APPEND, "first"), (WriteDisposition.MERGE, "last")]
)
def test_which_of_several_files_wins_a_key(disposition: WriteDisposition, kept: str, folder: Path) -> None:
    (folder / "items_10.ndjson").write_bytes(lines({"id": "a", "v": "last"}))
    (folder / "items_9.ndjson").write_bytes(lines({"id": "a", "v": "between"}, {"id": "a", "v": "between"}))
    (folder / "items_2.ndjson").write_bytes(lines({"id": "a", "v": "first"}, {"id": "b", "v": "alone"}))
    loaded = run_batch(batch_over(folder, {"items": replace(ITEMS, disposition=disposition)}))
    assert {row["id"]: row["v"] for row in loaded.rows["items"]} == {"a": kept, "b": "alone"}
    assert loaded.doors("items") == (5, 2, 3, 0)


def test_the_greatest_version_wins_a_key(folder: Path) -> None:
    (folder / "items_1.ndjson").write_bytes(lines({"id": "a", "v": "2"}, {"id": "a", "v": "9"}, {"id": "a"}))
    (folder / "items_2.ndjson").write_bytes(lines({"id": "a", "v": "5"}))
    versioned = replace(ITEMS, disposition=WriteDisposition.MERGE, version_by="v")
    loaded = run_batch(batch_over(folder, {"items": versioned}))
    assert [row["v"] for row in loaded.rows["items"]] == ["9"]


def test_refused_records_become_dead_letters(folder: Path) -> None:
    (folder / "items.ndjson").write_bytes(lines({"id": "a"}, "{", {"v": "without a key"}, {"id": "b"}))
    (folder / "items.csv").write_text("id,v\nc,1\nd,2,3\n")
    loaded = run_batch(batch_over(folder, TABLES))
    assert sorted((row["error_code"], row["raw"]) for row in loaded.dead_letters) == [
        ("malformed_csv", b"d,2,3"),
        ("malformed_json", b"{"),
        ("missing_required", b'{"v": "without a key"}'),
    ]
    assert sorted(row["id"] for row in loaded.rows["items"]) == ["a", "b", "c"]
    assert (loaded.balance.state, loaded.doors("items")) == (None, (6, 3, 0, 3))


def test_duplicates_are_kept_and_have_their_own_door(folder: Path) -> None:
    (folder / "items.ndjson").write_bytes(lines({"id": "a", "v": "1"}, {"id": "a", "v": "2"}, "{"))
    loaded = run_batch(batch_over(folder, TABLES, keep_duplicates=True))
    assert sorted((row["error_code"], row["raw"]) for row in loaded.dead_letters) == [
        ("duplicate", b'{"id": "a", "v": "2"}'),
        ("malformed_json", b"{"),
    ]
    assert (loaded.balance.state, loaded.doors("items")) == (None, (3, 1, 1, 1))
    assert set(loaded.rows["items"][0]) == {"id", "v", "_source", "_position", "_hash", "_run_id"}


@pytest.mark.parametrize(("bad", "state"), [(20, None), (21, State.TOO_MANY_DEAD_LETTERS)])
def test_too_many_dead_letters_load_nothing(bad: int, state: State | None, folder: Path) -> None:
    (folder / "items.ndjson").write_bytes(lines(*({"id": str(n)} for n in range(100 - bad)), *["{"] * bad))
    loaded = run_batch(batch_over(folder, TABLES, max_dead_letter_ratio=0.2))
    assert loaded.balance.state is state
    assert len(loaded.rows.get("items", [])) == (0 if state else 100 - bad)
    assert len(loaded.dead_letters) == bad


@dataclass(eq=False)
class LoseARow(beam.PTransform[PCollection[TableRows], PCollection[Shard]]):
    """Write all rows of a bucket but one."""

    write: beam.PTransform[PCollection[TableRows], PCollection[Shard]]

    def expand(self, rows: PCollection[TableRows]) -> PCollection[Shard]:
        lose = beam.MapTuple(lambda name, bucket, rows: (name, bucket, rows.slice(1))).with_output_types(TableRows)
        shards: PCollection[Shard] = rows | "Lose a row" >> lose | "Write the others" >> self.write
        return shards


def test_a_lost_row_breaks_the_ledger_and_nothing_is_loaded(folder: Path) -> None:
    (folder / "items_1.ndjson").write_bytes(lines({"id": "a"}, {"id": "b"}))
    (folder / "items_2.ndjson").write_bytes(lines({"id": "c"}))
    batch = batch_over(folder, TABLES)
    loaded = run_batch(replace(batch, write_rows=LoseARow(batch.write_rows)))
    assert loaded.balance.state is State.LEDGER_BROKEN
    assert loaded.balance.broken == (("items", f"{folder}/items_1.ndjson", 1),)
    assert "+1 records" in loaded.balance.explain()
    assert loaded.rows == {}


def test_columns_that_no_file_has_are_reported(folder: Path) -> None:
    (folder / "items_1.csv").write_text("id,value\na,1\n")
    (folder / "items_2.csv").write_text("id\nb\n")
    loaded = run_batch(batch_over(folder, TABLES))
    assert loaded.balance.missing_columns == (MissingColumns("items", ("v",), ("id", "value")),)


def test_a_key_of_json_in_another_case_is_reported(folder: Path) -> None:
    """It is a null column without a word otherwise; a key that no record has says nothing."""
    (folder / "items_1.ndjson").write_bytes(lines({"id": "a", "V": 1}, {"id": "b"}))
    assert run_batch(batch_over(folder, TABLES)).balance.missing_columns == (
        MissingColumns("items", ("v",), ("V", "id")),
    )
    (folder / "items_2.ndjson").write_bytes(lines({"id": "c"}))  # it may have the key further on
    assert run_batch(batch_over(folder, TABLES)).balance.missing_columns == (
        MissingColumns("items", ("v",), ("V", "id")),
    )
    (folder / "items_2.ndjson").write_bytes(lines({"id": "c", "v": 1}, "no record"))
    assert run_batch(batch_over(folder, TABLES)).balance.missing_columns == (
        MissingColumns("items", (), ("V", "id", "v"), (("v", f"{folder}/items_1.ndjson"),)),
    )
    (folder / "items_1.ndjson").write_bytes(lines({"id": "a", "V": 1, "v": 1}, {"id": "b", "w": 1}))
    (folder / "items_2.ndjson").write_bytes(lines({"id": "c"}))
    (folder / "items_3.csv").write_text("id\nd\n")
    assert run_batch(batch_over(folder, TABLES)).balance.missing_columns == ()


@pytest.mark.parametrize("workers", [1, 3])
def test_the_result_does_not_depend_on_bundles(workers: int, folder: Path) -> None:
    for file in range(6):
        records = [{"id": str(n % 250), "v": f"{file}-{n}"} for n in range(file, 1000, 6)]
        (folder / f"items_{file}.ndjson").write_bytes(lines(*records, "{"))
    loaded = run_batch(batch_over(folder, TABLES), workers)
    first: dict[str, str] = {}
    for file in range(6):
        for n in range(file, 1000, 6):
            first.setdefault(str(n % 250), f"{file}-{n}")
    assert {row["id"]: row["v"] for row in loaded.rows["items"]} == first
    assert loaded.doors("items") == (1006, 250, 750, 6)


def test_tables_do_not_mix(folder: Path) -> None:
    (folder / "items.ndjson").write_bytes(lines({"id": "a"}, {"id": "b"}))
    (folder / "parts.ndjson").write_bytes(lines({"id": "a"}, "{"))
    loaded = run_batch(batch_over(folder, {**TABLES, "parts": replace(ITEMS, name="parts")}))
    assert {table: sorted(row["id"] for row in rows) for table, rows in loaded.rows.items()} == {
        "items": ["a", "b"],
        "parts": ["a"],
    }
    assert [row["table"] for row in loaded.dead_letters] == ["parts"]


def test_a_file_that_changes_after_it_was_pinned_ends_the_run(folder: Path) -> None:
    (folder / "items.ndjson").write_bytes(lines({"id": "a"}))
    batch = batch_over(folder, TABLES)
    (folder / "items.ndjson").write_bytes(lines({"id": "b"}, {"id": "c"}))
    with pytest.raises(Exception, match="was changed while the run was reading it"):
        run_batch(batch)


def test_a_test_fails_if_the_warehouse_is_not_reached(folder: Path) -> None:
    with pytest.raises(AssertionError, match="the warehouse's end was not reached"):
        run_batch(batch_over(folder, {}))


def test_a_table_without_a_key_has_a_row_for_every_record(tmp_path: Path) -> None:
    """Equal records are two rows; a run over the same files has the same rows, and an overwritten file has new ones."""
    source = tmp_path / "in" / "log.csv"
    source.parent.mkdir()
    source.write_text("n\n1\n1\n2\n")
    table = Table("log", (Column("n", Kind.INTEGER),), (), identity=Identity.POSITION)

    def hashes(of: Table = table) -> list[tuple[int, int]]:
        loaded = run_batch(batch_over(source.parent, {"log": of}))
        return sorted((row["n"], row["_hash"]) for row in loaded.rows["log"])

    first = hashes()
    assert [n for n, _ in first] == [1, 1, 2]
    assert len(set(first)) == 3
    assert hashes() == first
    os.utime(source, ns=(1, 1))
    assert not {each for _, each in hashes()} & {each for _, each in first}
    assert [n for n, _ in hashes(replace(table, identity=Identity.RECORD))] == [1, 2]
