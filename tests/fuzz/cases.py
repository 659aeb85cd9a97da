"""What the campaign feeds: contracts, clean records of them, and what their derived columns must be."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from contracts.odcs.tables import load, shipped
from contracts.table import Column, Kind, Table

__all__ = ["DERIVED", "TODAY", "clean_rows", "csv_text", "json_text", "tables"]

TODAY = date(2024, 6, 15)
CONTRACT = Path(__file__).with_name("fuzz.odcs.yaml")
POOL = 400
Row = dict[str, Any]


@cache
def tables() -> dict[str, Table]:
    """The shipped tables, and some that have what these lack."""
    return {**shipped(), **load([(CONTRACT.name, CONTRACT.read_text())])}


@cache
def clean_rows(name: str) -> list[Row]:
    """Records that are clean under a table's contract, as JSON has them: numbers are texts with `#` before them."""
    chance = random.Random(name)
    table = tables()[name]
    return [_record(table, chance, number) for number in range(POOL)]


def json_text(row: object) -> str:
    """One record as JSON on one line."""
    if isinstance(row, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{json_text(value)}" for name, value in row.items()) + "}"
    if isinstance(row, list):
        return "[" + ",".join(map(json_text, row)) + "]"
    if isinstance(row, str):
        return row[1:] if row.startswith("#") else json.dumps(row, ensure_ascii=len(row) % 2 == 0)
    return json.dumps(row)


def csv_text(table: Table, rows: list[Row]) -> str:
    """A CSV file of records, with its header."""
    names = [column.path[0] for column in table.read_columns]
    names = list(dict.fromkeys(names))
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=table.csv.delimiter, quotechar=table.csv.quote, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_field(row.get(name)) for name in names])
    return sink.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.removeprefix("#")
    return json_text(value)


def _record(table: Table, chance: random.Random, number: int) -> Row:
    row: Row = {}
    for column in table.read_columns:
        value = _value(column, chance, number)
        target = row
        for step in column.path[:-1]:
            target = target.setdefault(step, {})
        if value is not None or chance.random() < 0.5:
            target[column.path[-1]] = value
    if chance.random() < 0.1:
        row["other"] = {"deep": ["#1.50", "a", None]}
    return row


def _value(column: Column, chance: random.Random, number: int) -> Any:
    if column.repeated:
        return [
            _value(column.element, chance, number) or _single(column.element, chance, number)
            for _ in range(chance.randrange(4))
        ]
    if not column.required and chance.random() < 0.15:
        return None
    return _single(column, chance, number)


def _single(column: Column, chance: random.Random, number: int) -> Any:
    if column.enum:
        return chance.choice(column.enum)
    match column.kind:
        case Kind.RECORD:
            return {field.name: _value(field, chance, number) for field in column.fields}
        case Kind.STRING:
            if column.email:
                return f"user{number}@mail.example.com"
            if column.pattern:
                return f"AB{number}"
            return chance.choice(
                [f"id-{number}", "a,b;c", 'say "it\'s"', "grün", "\U0001f600", "x" * 60, "line\nbreak"]
            )
        case Kind.INTEGER:
            return "#" + chance.choice(["0", "1", "7", "100", "3.0", "1e2"])
        case Kind.NUMERIC:
            return "#" + chance.choice(["0", "0.1", "0.5", "0.015", "1", "0.000000001", "1e-3", "0.999999999"])
        case Kind.FLOAT:
            return "#" + chance.choice(["0.1", "1", "1e2", "999.5"])
        case Kind.BOOLEAN:
            return chance.choice([True, False, "yes", "F"])
        case Kind.DATE:
            return (TODAY - timedelta(days=chance.randrange(3000))).isoformat()
        case Kind.TIMESTAMP:
            moment = datetime(2024, 6, 15, tzinfo=UTC) - timedelta(seconds=chance.randrange(10**8))
            text = moment.isoformat()
            return chance.choice([text, text.replace("+00:00", "Z"), text[:19], f"{text[:19]}.5+02:00"])


def _whole_name(row: Row) -> str | None:
    return " ".join(part for part in (row["first_name"], row["last_name"]) if part) or None


def _paid(row: Row) -> Decimal | None:
    if row["quantity"] is None or row["unit_price"] is None:
        return None
    exact = row["quantity"] * row["unit_price"] * (1 - (row["discount"] or Decimal(0)))
    return Decimal(exact).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _times(left: Any, right: Any) -> Any:
    return None if left is None or right is None else left * right


HOUR: dict[str, Callable[[Row], Any]] = {"event_hour": lambda row: row["event_timestamp"].hour}
PAID: dict[str, Callable[[Row], Any]] = {"total_paid": _paid}
RULES: dict[str, Callable[[Row], Any]] = {
    "four": lambda row: row["b"] * 4,
    "total": lambda row: _times(row["price"], row["b"]),
    "loud": lambda row: None if row["word"] is None else row["word"].upper() + "!",
    "chosen": lambda row: row["small"] if row["flag"] else -1,
    "second": lambda row: row["at"].second,
    "cheap": lambda row: None if row["price"] is None else row["price"] < 10,
}
DERIVED: dict[str, dict[str, Callable[[Row], Any]]] = {
    "customers": {"full_name": _whole_name},
    "products": {
        "profit_margin": lambda row: None if None in (row["price"], row["cost"]) else row["price"] - row["cost"]
    },
    "transactions": PAID,
    "transactions_streaming": PAID,
    "user_events": HOUR,
    "user_events_streaming": HOUR,
    "rules": RULES,
    "dialect": RULES,
}
"""By table and column: the value that a row's derived column must have, in plain Python with 60 digits."""
