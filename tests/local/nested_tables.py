"""Tables whose columns have every type, depth and reserved word as a name, and rows of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from contracts.schemas import arrow_schema, stored_columns
from contracts.table import Column, Kind, Table

__all__ = [
    "NEEDS_QUOTES",
    "NEEDS_QUOTES_AFTER_A_DOT",
    "SCALARS",
    "batch_of",
    "changed",
    "deep_table",
    "leaves",
    "rows_of_table",
    "words",
]

GOOGLE_SQL = (
    "all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube current"
    " default define desc distinct else end enum escape except exclude exists extract false fetch following for from"
    " full group grouping groups hash having if ignore in inner intersect interval into is join lateral left like limit"
    " lookup merge natural new no not null nulls of on or order outer over partition preceding proto qualify range"
    " recursive respect right rollup rows select set some struct tablesample then to treat true unbounded union unnest"
    " using when where window with within"
)
"""GoogleSQL's reserved keywords."""
NEEDS_QUOTES = frozenset(GOOGLE_SQL.split()) | {
    "alter",
    "declare",
    "drop",
    "glob",
    "ilike",
    "insert",
    "notnull",
    "out",
    "returning",
    "revoke",
    "rollback",
}
"""What must be in backticks where it stands alone: GoogleSQL's words, and some that are no words of it."""
NEEDS_QUOTES_AFTER_A_DOT = frozenset({"not", "select"})
"""The same after a dot, where GoogleSQL takes any word: docs/explanation/emulator.md."""
VALUES: dict[Kind, tuple[Any, ...]] = {
    Kind.STRING: ("", "x", "null", "é 😀\n\t'\"\\`", "[1]", '{"a": 1}'),
    Kind.INTEGER: (0, -1, 2**63 - 1, -(2**63)),
    Kind.FLOAT: (0.0, 0.1, -1.5e300, 5e-324),
    Kind.NUMERIC: (Decimal("0"), Decimal("-0.000000001"), Decimal(f"{'9' * 29}.{'9' * 9}"), Decimal("1.5")),
    Kind.BOOLEAN: (True, False),
    Kind.DATE: (date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)),
    Kind.TIMESTAMP: (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 1, 2, 3, 4, UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ),
}
SCALARS = tuple(VALUES)
"""The types that are read as they are written; test_bigquery_types.py has the others."""
LINEAGE = {
    "_source": "kafka://t/0",
    "_position": 1,
    "_hash": -7,
    "_run_id": "r",
    "_ingested_at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
}


def words() -> list[str]:
    """Every reserved word of GoogleSQL and every keyword of DuckDB, and some names that are natural."""
    known = [row[0] for row in duckdb.sql("SELECT DISTINCT keyword_name FROM duckdb_keywords()").fetchall()]
    names = {
        *GOOGLE_SQL.split(),
        *known,
        "user",
        "order-id",
        "id",
        "element",
        "item",
        "list",
        "value",
        "Kind",
        "STRUCT",
    }
    return list({name.casefold(): name for name in sorted(names)}.values())


def deep_table(name: str, names: Sequence[str], shift: int = 0) -> Table:
    """A table with each of the names at the top, in an object, in an array of objects, and in an object in either.

    Types take turns: `shift` says which is the first, and every third column is repeated.
    """

    def fields(start: int) -> tuple[Column, ...]:
        return tuple(
            Column(one, SCALARS[(number + start) % len(SCALARS)], repeated=(number + start) % 3 == 2)
            for number, one in enumerate(names)
        )

    inner = Column("within", Kind.RECORD, fields=fields(shift + 3))
    return Table(
        name,
        (
            Column("_key", Kind.STRING, required=True),
            *fields(shift),
            Column("_object", Kind.RECORD, fields=(*fields(shift + 1), _renamed(inner, names))),
            Column("_array", Kind.RECORD, repeated=True, fields=(*fields(shift + 2), _renamed(inner, names))),
            Column("_period", Kind.RECORD, fields=(Column("start", Kind.DATE), Column("end", Kind.DATE))),
        ),
        ("_key",),
    )


def _renamed(column: Column, names: Sequence[str]) -> Column:
    taken = {name.casefold() for name in names}
    return column if column.name not in taken else Column("inside", column.kind, fields=column.fields)


def rows_of_table(table: Table, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of any values; the first has all of them, the second none, the others some."""
    chance = random.Random(seed)
    rows = [_row(table.columns, chance, share) for share in (1.0, 0.0, *[0.7] * (count - 2))]
    for number, row in enumerate(rows):
        row |= {"_key": f"key-{number}", **LINEAGE}
    return rows


def _row(columns: Sequence[Column], chance: random.Random, share: float) -> dict[str, Any]:
    return {column.name: _value(column, chance, share) for column in columns}


def _value(column: Column, chance: random.Random, share: float) -> Any:
    if column.repeated:
        return [_single(column, chance, share) for _ in range(chance.randint(1, 3))] if chance.random() < share else []
    return _single(column, chance, share) if column.required or chance.random() < share else None


def _single(column: Column, chance: random.Random, share: float) -> Any:
    return _row(column.fields, chance, share) if column.kind is Kind.RECORD else chance.choice(VALUES[column.kind])


def changed(rows: Sequence[dict[str, Any]], column: Column) -> list[dict[str, Any]]:
    """The same rows, with another value in one column."""
    chance = random.Random(99)
    return [{**row, column.name: _value(column, chance, 1.0)} for row in rows]


def batch_of(table: Table, rows: Sequence[dict[str, Any]], without: Sequence[str] = ()) -> pa.RecordBatch:
    """The rows as they are appended and written to Parquet."""
    schema = pa.schema([field for field in arrow_schema(table) if field.name not in without])
    return pa.RecordBatch.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def leaves(table: Table) -> Iterator[tuple[tuple[str, ...], Column]]:
    """Every column that is not in an array, with its path: also those in an object, and those in one in it."""

    def within(columns: Sequence[Column], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Column]]:
        for column in columns:
            yield (*path, column.name), column
            if not column.repeated:
                yield from within(column.fields, (*path, column.name))

    return within(stored_columns(table), ())
