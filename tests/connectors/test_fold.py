"""The statement that folds changes into a table, run by DuckDB, against what a few lines of Python say."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import duckdb
import hypothesis.strategies as st
import sqlglot
from hypothesis import given, settings

from connectors.sinks.fold import fold_statement, pending_query, since_condition
from contracts.changes import changes_of
from contracts.lineage import INGESTED_AT, POSITION, SOURCE
from contracts.schemas import stored_columns
from contracts.table import Column, Kind, Table, WriteDisposition
from tests.protocol.folding import Change, Row, folded_rows, newest, source_of

TABLE = Table(
    "stock",
    (Column("id", Kind.INTEGER, required=True), Column("v", Kind.INTEGER), Column("qty", Kind.INTEGER, required=True)),
    ("id",),
    disposition=WriteDisposition.MERGE,
)
VERSIONED = replace(TABLE, version_by="v")
TYPES = {Kind.STRING: "VARCHAR", Kind.INTEGER: "BIGINT", Kind.TIMESTAMP: "BIGINT", Kind.BOOLEAN: "BOOLEAN"}
"""Times are numbers here."""


DB = duckdb.connect()


@functools.cache
def for_duckdb(sql: str) -> str:
    """The statement in DuckDB's dialect."""
    (translated,) = sqlglot.transpile(sql, read="bigquery", write="duckdb")
    return translated


class Place:
    """A table and its changes in DuckDB."""

    def __init__(self, table: Table) -> None:
        self.table, self.db = table, DB
        for each in (table, changes_of(table)):
            columns = ", ".join(f'"{column.name}" {TYPES[column.kind]}' for column in stored_columns(each))
            self.db.execute(f"CREATE OR REPLACE TABLE {each.name} ({columns})")

    def append(self, change: Change) -> None:
        """Append one change."""
        self._insert(changes_of(self.table).name, change.row())

    def load(self, key: int, qty: int, version: int | None, at: int) -> None:
        """Put a row into the table as a batch does, unless the stored one has a greater version."""
        stored = self.db.execute(f"SELECT v FROM {self.table.name} WHERE id = {key}").fetchone()
        if stored and self.table.version_by and stored[0] is not None and (version is None or version < stored[0]):
            return
        self.db.execute(f"DELETE FROM {self.table.name} WHERE id = {key}")
        row = {"id": key, "v": version, "qty": qty, SOURCE: "gs://b/f", POSITION: 0, "_hash": key, "_run_id": "b"}
        self._insert(self.table.name, {**row, INGESTED_AT: at})

    def _insert(self, name: str, row: dict[str, Any]) -> None:
        names = ", ".join(f'"{column}"' for column in row)
        self.db.execute(f"INSERT INTO {name} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

    def fold(self, folded: dict[str, int] | None = None) -> None:
        """Run the statement. `folded` stands in for the lease, so that one translation is enough."""
        sql = fold_statement(self.table, self.table.name, changes_of(self.table).name, "is_new", {})
        self.db.execute(for_duckdb(sql).replace("is_new", since_condition(folded or {})))

    def pending(self) -> int:
        """How many rows a fold of all changes would change."""
        sql = pending_query(self.table, self.table.name, changes_of(self.table).name)
        (found,) = self.db.execute(for_duckdb(sql)).fetchone() or (0,)
        return int(found)

    def trim(self, before: int) -> None:
        """Delete changes that were appended before a time."""
        self.db.execute(f"DELETE FROM {changes_of(self.table).name} WHERE {INGESTED_AT} < {before}")

    def table_rows(self) -> dict[int, Row]:
        """The rows of the table by key."""
        found = self.db.execute(f"SELECT id, qty, v, {SOURCE}, {POSITION}, {INGESTED_AT} FROM {self.table.name}")
        return {key: Row(*values) for key, *values in found.fetchall()}

    def rows(self) -> dict[int, int]:
        """The quantity of each key."""
        found = self.db.execute(f"SELECT id, qty FROM {self.table.name}").fetchall()
        assert len(dict(found)) == len(found)
        return dict(found)


def test_case_of_the_wild() -> None:
    place = Place(TABLE)
    for change in (Change(0, 0, 7, 1), Change(0, 1, 7, 5, at=1), Change(0, 2, 8, 2, at=1), Change(0, 3, 8, None, at=2)):
        place.append(change)
    place.fold()
    assert place.rows() == {7: 5}


@st.composite
def logs(draw: st.DrawFn, partitions: int) -> list[Change]:
    """Records of a few keys in order of each partition."""
    offsets = [0] * partitions
    changes = []
    for number in range(draw(st.integers(1, 14))):
        partition = draw(st.integers(0, partitions - 1))
        changes.append(
            Change(
                partition,
                offsets[partition],
                draw(st.integers(0, 2)),
                draw(st.one_of(st.none(), st.just(number))),
                draw(st.one_of(st.none(), st.integers(0, 3))),
                draw(st.integers(0, 9)),
                number,
            )
        )
        offsets[partition] += 1
    return changes


@given(logs(3), st.booleans(), st.data())
@settings(max_examples=15, deadline=None)
def test_whenever_it_is_folded_the_newest_change_counts(changes: list[Change], versioned: bool, data: Any) -> None:
    """Statements between any two appends, over any part that may not be folded, do what the model says.

    In the end the rows are those of the newest changes.
    """
    place = Place(VERSIONED if versioned else TABLE)
    folded: dict[str, int] = {}
    for at, change in enumerate(changes):
        place.append(change)
        if data.draw(st.booleans()):
            table = place.table_rows()
            place.fold(folded)
            for key, row in folded_rows(changes[: at + 1], table, folded, versioned).items():
                table = {**table, key: row} if row else {each: table[each] for each in table if each != key}
            assert place.table_rows() == table
            committed = {each.partition: each.offset + 1 for each in changes[: at + 1]}
            lag = data.draw(st.integers(0, 3))
            folded = {source_of(partition): max(0, offset - lag) for partition, offset in committed.items()}
    place.fold({} if versioned else folded)  # see the next test for what a part may leave open
    assert place.pending() == 0
    by_key = {key: [change for change in changes if change.key == key] for key in {each.key for each in changes}}
    chosen = {key: newest(its, versioned).qty for key, its in by_key.items()}
    assert place.rows() == {key: qty for key, qty in chosen.items() if qty is not None}


def test_what_a_tombstone_uncovers_waits_for_a_fold_of_all_changes() -> None:
    """A lower version of another partition, later than the tombstone, was read before it."""
    place = Place(VERSIONED)
    place.append(Change(0, 0, 7, 5, version=5, timestamp=5, at=0))
    place.append(Change(1, 0, 7, 3, version=3, timestamp=9, at=1))
    place.fold()
    assert place.rows() == {7: 5}
    place.append(Change(0, 1, 7, None, timestamp=7, at=2))
    place.fold({"kafka://t/0": 1, "kafka://t/1": 1})
    assert place.pending() == 1
    place.fold()
    assert place.rows() == {7: 3}


def test_what_is_not_folded_is_pending() -> None:
    place = Place(VERSIONED)
    for change in (Change(0, 0, 7, 1, 1), Change(0, 1, 8, 1, 1, at=1), Change(0, 2, 9, None, at=2)):
        place.append(change)
    assert place.pending() == 2
    place.fold()
    place.append(Change(0, 3, 7, None, at=3))
    place.append(Change(0, 4, 8, 2, 0, at=4))
    assert place.pending() == 1


@given(st.data(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_batch_and_old_changes_that_are_deleted(data: Any, versioned: bool) -> None:
    """In one partition: what came last counts, or the greatest version since the last tombstone.

    Changes that are folded may be deleted at any time.
    """
    place = Place(VERSIONED if versioned else TABLE)
    expected: dict[int, tuple[int, int | None]] = {}
    for at in range(data.draw(st.integers(1, 16))):
        event = data.draw(st.sampled_from(["change", "change", "change", "fold", "trim", "batch"]))
        key, version = data.draw(st.integers(0, 2)), data.draw(st.one_of(st.none(), st.integers(0, 3)))
        if event == "change":
            qty = data.draw(st.one_of(st.none(), st.just(at)))
            place.append(Change(0, at, key, qty, version, at=at))
            if qty is None:
                expected.pop(key, None)
            elif key not in expected or not versioned or _not_less(version, expected[key][1]):
                expected[key] = qty, version
        elif event == "batch":
            place.fold()
            place.load(key, 100 + at, version, at)
            if key not in expected or not versioned or _not_less(version, expected[key][1]):
                expected[key] = 100 + at, version
        else:
            place.fold()
            place.trim(at if event == "trim" else 0)
    place.fold()
    assert place.rows() == {key: qty for key, (qty, _) in expected.items()}


def _not_less(version: int | None, stored: int | None) -> bool:
    return stored is None or (version is not None and version >= stored)
