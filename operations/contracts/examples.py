"""Tests of contracts as data: files `tests/*.yaml` next to a contract, each record with what must become of it.

table: rides                       # the table; optional if there is only one
today: 2026-05-01                  # optional: the day that a partition column is compared with
header: ride_id,minutes            # only for `line`: the header of a CSV file
tests:
- name: a ride without a length  # optional
record: {ride_id: r1}          # a record as JSON; or `line`: a line of JSON, or of CSV below the header
after: [{ride_id: r0}]         # optional: records that are read before
door: table                    # table, duplicate or dead_letter
row: {minutes: null}           # optional: values of the row, as many columns as wanted
code: missing_required         # optional: the code of the dead letter
field: minutes                 # optional: its field
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import yaml

from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.decoding.json_text import parse_json
from contracts.decoding.values import validate_value
from contracts.errors import UsageError
from contracts.lineage import POSITION
from contracts.lineage import SOURCE as SOURCE_COLUMN
from contracts.odcs.yaml_text import mapping
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, Table
from operations.contracts.written import written_rows

__all__ = ["DOORS", "Example", "examples_of", "outcome"]

DOORS = ("table", "duplicate", "dead_letter")
FILE_KEYS = ("table", "today", "header", "tests")
KEYS = ("name", "record", "line", "after", "door", "row", "code", "field")
SOURCE = "test"
"""What the records are read from, as far as the decoder knows."""


@dataclass(frozen=True, slots=True)
class Example:
    """One record and what must become of it. `where` is its file and line, for messages."""

    where: str
    table: Table
    records: tuple[bytes, ...]
    """The records; the last one is the one whose outcome is compared."""
    header: bytes | None
    today: date
    door: str
    row: Mapping[str, Any] | None = None
    code: str | None = None
    field: str | None = None


def examples_of(file: str, text: str, tables: Mapping[str, Table]) -> list[Example]:
    """Return the tests of a file. Raises UsageError, with the line, for what cannot be one."""
    raw = mapping(file, text)
    lines = _lines(text)
    _check_keys(f"{file}:1", raw, FILE_KEYS)
    table = _table(file, raw, tables)
    if not isinstance(raw.get("tests"), list) or not raw["tests"]:
        raise UsageError(f"{file}:1: has no tests; write a list of mappings with record and door under tests:")
    today = _today(file, raw)
    header = None if raw.get("header") is None else str(raw["header"]).encode()
    return [
        _example(f"{file}:{line}", test, table, header, today) for line, test in zip(lines, raw["tests"], strict=True)
    ]


def outcome(example: Example) -> Iterator[str]:
    """Yield how the outcome of the record differs from the test, nothing if it passes."""
    table = example.table
    header = parse_header(example.header, table.csv, table.read_columns) if example.header is not None else None
    block = Block(
        SOURCE,
        Format.JSON if header is None else Format.CSV,
        example.records,
        np.arange(len(example.records), dtype=np.int64),
        header,
    )
    decoded = Decoder(table, lambda: example.today).decode(block)
    last = len(example.records) - 1
    refusal = next((each for each in decoded.refusals if each.position == last), None)
    if refusal is not None:
        why = f"a dead letter: {refusal.code.value}: {refusal.message}"
        if example.door != "dead_letter":
            yield f"must be {_door(example.door)}, but it is {why}"
        elif example.code not in (None, refusal.code.value):
            yield f"must be a dead letter with code {example.code}, but it is {why}"
        elif example.field not in (None, refusal.field):
            yield f"must be a dead letter about {example.field}, but it is {why}"
        return
    rows = decoded.rows
    if len(rows) > 1:
        rows = written_rows(rows.with_columns(pl.lit(SOURCE).alias(SOURCE_COLUMN)), table)
    door = "table" if last in rows[POSITION] else "duplicate"
    if door != example.door:
        yield f"must be {_door(example.door)}, but it is {_door(door)}"
    elif example.row is not None:
        yield from _differences(table, rows.row(len(rows) - 1, named=True), example.row)


def _differences(table: Table, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        column = next((each for each in table.columns if each.name == name), None)
        if column is None and name not in stored:
            yield f"row names {name}, which is no column; there are {', '.join(each.name for each in table.columns)}"
            continue
        try:
            expected = value if column is None else _read_as(column, value)
        except NotClean as problem:
            yield f"row: {problem.message}"
            continue
        if stored[name] != expected:
            yield f"{name} must be {value!r}, but it is {_shown(stored[name])}"


def _read_as(column: Column, value: object) -> object:
    """Return the wanted value in the type of the column, whatever its rules and the form that its files have."""
    return validate_value(_plain(column), parse_json(json.dumps(value)))


def _plain(column: Column) -> Column:
    fields = tuple(_plain(field) for field in column.fields)
    plain = Column(column.name, column.kind, repeated=column.repeated, fields=fields)
    return replace(plain, precision=column.precision, scale=column.scale)


def _shown(value: object) -> str:
    return repr(value.isoformat() if isinstance(value, datetime | date) else value if value is None else str(value))


def _door(door: str) -> str:
    return {"table": "a row of the table", "duplicate": "a duplicate", "dead_letter": "a dead letter"}[door]


def _example(where: str, raw: Any, table: Table, header: bytes | None, today: date) -> Example:
    if not isinstance(raw, dict):
        raise UsageError(f"{where}: a test is a mapping of record and door, not {raw!r}")
    _check_keys(where, raw, KEYS)
    if ("record" in raw) == ("line" in raw):
        raise UsageError(f"{where}: give either record, a mapping, or line, a text")
    if raw.get("door") not in DOORS:
        raise UsageError(f"{where}: door must be one of {', '.join(DOORS)}, not {raw.get('door')!r}")
    codes = [code.value for code in ErrorCode]
    if raw.get("code") not in (None, *codes):
        raise UsageError(f"{where}: code must be one of {', '.join(codes)}, not {raw['code']!r}")
    if raw.get("row") is not None and (raw["door"] != "table" or not isinstance(raw["row"], dict)):
        raise UsageError(f"{where}: row is a mapping of columns, and belongs to door: table")
    if raw["door"] != "dead_letter" and ("code" in raw or "field" in raw):
        raise UsageError(f"{where}: code and field belong to door: dead_letter")
    after = raw.get("after") or []
    if not isinstance(after, list):
        raise UsageError(f"{where}: after is a list of records, not {after!r}")
    texts = [*after, raw["record"] if "record" in raw else raw["line"]]
    in_csv = header is not None
    if in_csv and not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{where}: the file has a header, so its records are CSV; give each as line: a text")
    records = tuple(text.encode() if isinstance(text, str) else json.dumps(text).encode() for text in texts)
    return Example(where, table, records, header, today, raw["door"], raw.get("row"), raw.get("code"), raw.get("field"))


def _table(file: str, raw: Mapping[str, Any], tables: Mapping[str, Table]) -> Table:
    known = ", ".join(tables)
    name = str(raw.get("table") or ("" if len(tables) > 1 else next(iter(tables))))
    if name not in tables:
        problem = f"there is no table {name}" if name else "names no table"
        raise UsageError(f"{file}:1: {problem}; write table: with one of {known}")
    return tables[name]


def _today(file: str, raw: Mapping[str, Any]) -> date:
    if raw.get("today") is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(str(raw["today"]))
    except ValueError:
        raise UsageError(f"{file}:1: today must be a date such as 2026-05-01, not {raw['today']!r}") from None


def _check_keys(where: str, raw: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in raw:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}; there are {', '.join(known)}")


def _lines(text: str) -> list[int]:
    """Return the line of each entry of `tests`."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    members = root.value if isinstance(root, yaml.MappingNode) else []
    tests = next((value for key, value in members if getattr(key, "value", None) == "tests"), None)
    return [entry.start_mark.line + 1 for entry in tests.value] if isinstance(tests, yaml.SequenceNode) else []
