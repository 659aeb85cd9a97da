"""Read the columns of many JSON records at once, with msgspec: each record is parsed a single time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import astuple

from contracts.decoding.csv_rows import texts_of
from contracts.decoding.json_text import SHALLOW, parse_json, shape_problem
from contracts.decoding.validate import unknown_fields
from contracts.refusal import NotClean
from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["JsonColumns"]

NAMED = re.compile(r'[^"\\\x00-\x1f]+')
"""A field name that msgspec supports. A table with another name does not use this reader."""
BAD = "{"
"""A text that is no JSON."""


class JsonColumns:
    """Reads the values of a table's read columns from many JSON records at once."""

    def __init__(self, table: Table) -> None:
        self._forbid = table.unknown_fields is UnknownFields.REJECT
        self._columns = table.read_columns
        record = _struct({column.path: column for column in self._columns}, self._forbid)
        self._decode = msgspec.json.Decoder(record).decode
        names = [_attribute({c.path: c for c in self._columns}, column.path) for column in self._columns]
        values = [attrgetter(name) for name in names]
        flat = all(len(column.path) == 1 for column in self._columns)
        self._values = astuple if flat else lambda row: tuple(value(row) for value in values)
        self._blank = self._values(record())

    @staticmethod
    def can_read(table: Table) -> bool:
        """Return whether this reader supports the contract.

        It does not support unknown fields that are kept, or paths of which one is a part of another.
        """
        paths = [column.path for column in table.read_columns]
        overlap = any(a != b and b[: len(a)] == a for a in paths for b in paths) or len(set(paths)) < len(paths)
        named = all(NAMED.fullmatch(step) for path in paths for step in path)
        return table.unknown_fields is not UnknownFields.KEEP and not overlap and named

    def read(self, records: Sequence[bytes]) -> tuple[list[Sequence[object]], list[int]]:
        """Return one list per column, and the indices of the records that msgspec refuses: their values are null."""
        values: list[Any] = []
        unreadable: list[int] = []
        width = len(self._columns)
        readable = _utf8(records)
        if max(map(len, readable)) > SHALLOW:
            readable = [b"" if len(record) > SHALLOW and shape_problem(record) else record for record in readable]
        remaining = iter(readable)
        while True:  # if a record raises, extend() keeps the values before it, and the iterator continues after it
            try:
                values.extend(chain.from_iterable(map(self._values, map(self._decode, remaining))))
                break
            except (msgspec.MsgspecError, RecursionError):
                unreadable.append(len(values) // width)
                values.extend(self._blank)
        return [self._plain(column, values[number::width]) for number, column in enumerate(self._columns)], unreadable

    def _plain(self, column: Column, values: list[Any]) -> list[Any]:
        """Convert raw JSON to what read_column accepts: the text of a number, parsed JSON for a nested column."""
        if _field_type(column) is not msgspec.Raw:
            return values
        nested = column.repeated or column.kind in (Kind.RECORD, Kind.JSON)
        plain: list[Any] = []
        for raw in values:
            text = bytes(raw).decode()
            if text == "null":
                plain.append(None)
            elif nested:
                plain.append(self._parsed(column, text))
            elif text[0] == '"':
                plain.append(text[1:-1])
            else:  # a JSON number is never in the numberFormat of the column: the validator reads it
                plain.append("" if column.number_format else text)
        return plain

    def _parsed(self, column: Column, text: str) -> object:
        """Parse a nested value. A bad one becomes BAD, which no column accepts: the validator then reports it."""
        try:
            value = parse_json(text)
            unknown = self._forbid and unknown_fields({column.path[-1]: value}, (_shortened(column),))
        except NotClean:
            return BAD
        return BAD if unknown else value


def _utf8(records: Sequence[bytes]) -> Sequence[bytes]:
    """Empty each record that is not UTF-8: msgspec does not check the fields that it skips."""
    joined = b"\n".join(records)
    if joined.isascii():
        return records
    try:
        joined.decode()
    except UnicodeDecodeError:
        return [text.encode() for text in texts_of(records, "utf-8")]
    return records


_FIELD_TYPES: dict[Kind, Any] = {
    Kind.STRING: str | int | None,
    Kind.BOOLEAN: bool | str | None,
    Kind.TIMESTAMP: str | None,
    Kind.BYTES: str | None,
    Kind.DATE: str | None,
    Kind.DATETIME: str | None,
    Kind.TIME: str | None,
}


def _field_type(column: Column) -> Any:
    """Return the type of the field of a msgspec struct; msgspec.Raw for numbers and nested values."""
    raw = column.repeated or column.epoch is not None
    return msgspec.Raw if raw else _FIELD_TYPES.get(column.kind, msgspec.Raw)


def _struct(columns: dict[tuple[str, ...], Column], forbid: bool, depth: int = 0) -> Any:
    """A msgspec struct whose fields are named f0, f1, … in order of first appearance, nested along the paths."""
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for number, step in enumerate(dict.fromkeys(path[depth] for path in columns)):
        below = {path: column for path, column in columns.items() if path[depth] == step}
        leaf = next((column for path, column in below.items() if len(path) == depth + 1), None)
        rename[f"f{number}"] = step
        if leaf is None:
            nested = _struct(below, forbid, depth + 1)
            fields.append((f"f{number}", nested, msgspec.field(default_factory=nested)))
        elif (kind := _field_type(leaf)) is msgspec.Raw:
            fields.append((f"f{number}", msgspec.Raw, msgspec.Raw(b"null")))
        else:
            fields.append((f"f{number}", kind, None))
    return msgspec.defstruct("Record", fields, rename=rename, forbid_unknown_fields=forbid, gc=False)


def _attribute(columns: dict[tuple[str, ...], Column], path: tuple[str, ...]) -> str:
    """Return the attribute of the struct that has the value at `path`, for example `f2.f0`."""
    names = []
    for depth in range(len(path)):
        steps = list(dict.fromkeys(other[depth] for other in columns if other[:depth] == path[:depth]))
        names.append(f"f{steps.index(path[depth])}")
    return ".".join(names)


def _shortened(column: Column) -> Column:
    """Return the column as a field of the object that contains it."""
    return replace(column, source=column.path[-1:])
