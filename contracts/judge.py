"""One record against the contract, by the rules of values.py: the values of its columns, or why it is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from contracts.csv_rows import CsvHeader, parse_row
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, Kind, Table, UnknownFields
from contracts.values import Number, convert, find, parse_json

__all__ = ["Judge"]

REGISTRY_HEADER = 5
"""Bytes that a Schema Registry's serializers put before a value: a zero and the schema's number."""


class Judge:
    """Judges records of one table, one at a time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = [(column, column.name == table.partition) for column in table.read_columns]

    def row(self, raw: bytes, format: str, header: CsvHeader | None, today: date) -> tuple[object, ...]:
        """The values of the read columns in order (and of `_extra` where unknown fields are kept); else NotClean."""
        record = self._csv(raw, header) if format == "csv" else self._json(raw)
        values = [
            convert(column, find(record, column.path), today=today if partition else None)
            for column, partition in self._columns
        ]
        if self._table.unknown_fields is UnknownFields.IGNORE:
            return tuple(values)
        unknown = unknown_fields(record, self._table.read_columns)
        if self._table.unknown_fields is UnknownFields.KEEP:
            return (*values, json.dumps(unknown, default=str, ensure_ascii=False) if unknown else None)
        for name in unknown:
            raise NotClean(ErrorCode.UNKNOWN_FIELD, f"{name} is not in the contract", name)
        return tuple(values)

    def _csv(self, raw: bytes, header: CsvHeader | None) -> Mapping[str, object]:
        assert header is not None
        return parse_row(raw, header, self._table)

    def _json(self, raw: bytes) -> Mapping[str, object]:
        if raw[:1] == b"\0" and len(raw) > REGISTRY_HEADER:
            schema = int.from_bytes(raw[1:REGISTRY_HEADER], "big")
            message = f"it begins with the magic byte of a Schema Registry (schema {schema}), it is not JSON"
            raise NotClean(ErrorCode.MALFORMED_JSON, message)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            message = f"byte {error.start} is not UTF-8"
            raise NotClean(ErrorCode.INVALID_ENCODING, message) from None
        record = parse_json(text)
        if not isinstance(record, Mapping):
            raise NotClean(ErrorCode.MALFORMED_JSON, "the record is not a JSON object")
        return record


def unknown_fields(record: Mapping[str, object], columns: tuple[Column, ...], path: str = "") -> dict[str, object]:
    """The fields of a record that no column reads, by their path; numbers as JSON has them."""
    found: dict[str, object] = {}
    for name, value in record.items():
        where = f"{path}{name}"
        below = [column for column in columns if column.path[0] == name]
        if not below:
            found[where] = _exact(value)
            continue
        deeper = tuple(_shifted(column) for column in below if len(column.path) > 1)
        if deeper and isinstance(value, Mapping):
            found |= unknown_fields(value, deeper, f"{where}.")
        for column in below:
            if len(column.path) == 1 and column.kind is Kind.RECORD:
                items = value if column.repeated and isinstance(value, list) else [value]
                for index, item in enumerate(items):
                    if isinstance(item, Mapping):
                        inner = f"{where}[{index}]." if column.repeated else f"{where}."
                        found |= unknown_fields(item, column.fields, inner)
    return found


def _shifted(column: Column) -> Column:
    return replace(column, source=column.path[1:])


def _exact(value: object) -> object:
    """The value with its numbers as JSON numbers; those that a double or 64 bits cannot hold stay text."""
    if isinstance(value, Number):
        number = int(value) if value.lstrip("-").isdigit() and len(value) < 19 else float(value)
        return number if isinstance(number, int) or repr(number) == value else str(value)
    if isinstance(value, Mapping):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value
