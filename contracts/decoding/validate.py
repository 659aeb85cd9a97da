"""Validate one record against the contract, by the rules of values.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date

from contracts.decoding.csv_rows import CsvHeader, parse_row, trimmed
from contracts.decoding.json_text import Number, parse_json
from contracts.decoding.json_value import parse_nested
from contracts.decoding.values import validate_value, value_at
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["RecordValidator"]

REGISTRY_HEADER = 5
"""Length in bytes of the prefix of a Schema Registry serializer: the magic byte 0 and a schema id of 4 bytes."""


class RecordValidator:
    """Validates the records of one table, one at a time: the reference for the fast path of columns.py."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = [(column, column.name == table.partition) for column in table.read_columns]

    def validate(
        self,
        raw: bytes,
        format: str,
        header: CsvHeader | None,
        today: date,
        path_texts: Mapping[int, str | None] | None = None,
    ) -> tuple[object, ...]:
        """Return the values of the read columns in order, then `_extra` if the contract keeps unknown fields.

        `path_texts` has the texts that the path of the file gives to columns, by index: see path_values.py. Raises
        NotClean with the first problem of the record.
        """
        record = self._parse_csv(raw, header) if format == "csv" else self._parse_json(raw)
        values = [
            validate_value(column, value, today=today if partition else None)
            for (column, partition), value in zip(
                self._columns, self._values(record, header, path_texts or {}), strict=True
            )
        ]
        if self._table.unknown_fields is UnknownFields.IGNORE:
            return tuple(values)
        unknown = unknown_fields(record, self._table.read_columns)
        if self._table.unknown_fields is UnknownFields.KEEP:
            return (*values, _extra_json(unknown))
        for name in unknown:
            if not _is_text(name):
                raise _lone_surrogate(name)
            raise NotClean(ErrorCode.UNKNOWN_FIELD, f"{name}: the contract has no such field", name)
        return tuple(values)

    def _values(
        self, record: Mapping[str, object], header: CsvHeader | None, path_texts: Mapping[int, str | None]
    ) -> Iterator[object]:
        for index, (column, _) in enumerate(self._columns):
            if column.file_name or column.path_part is not None:
                yield path_texts.get(index)
            else:
                value = _value(record, column, header)
                yield path_texts.get(index) if value is None else value

    def _parse_csv(self, raw: bytes, header: CsvHeader | None) -> Mapping[str, object]:
        assert header is not None
        return parse_row(raw, header)

    def _parse_json(self, raw: bytes) -> Mapping[str, object]:
        if raw[:1] == b"\0" and len(raw) > REGISTRY_HEADER:
            schema = int.from_bytes(raw[1:REGISTRY_HEADER], "big")
            message = f"the record starts with the magic byte of a Schema Registry (schema {schema}); it is not JSON"
            raise NotClean(ErrorCode.MALFORMED_JSON, message)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            message = f"byte {error.start} of the record is not UTF-8"
            raise NotClean(ErrorCode.INVALID_ENCODING, message) from None
        record = parse_json(text)
        if not isinstance(record, Mapping):
            raise NotClean(ErrorCode.MALFORMED_JSON, "the record is not a JSON object")
        return record


def _value(record: Mapping[str, object], column: Column, header: CsvHeader | None) -> object:
    value = value_at(record, column.path)
    return trimmed(value, header) if header and column.trim else value


def _extra_json(unknown: Mapping[str, object]) -> str | None:
    """Return the unknown fields as JSON for `_extra`, None if there are none."""
    if not unknown:
        return None
    text = json.dumps(unknown, default=str, ensure_ascii=False)
    if not _is_text(text):
        dumped = {name: json.dumps([name, value], default=str, ensure_ascii=False) for name, value in unknown.items()}
        raise _lone_surrogate(next(name for name, text in dumped.items() if not _is_text(text)))
    return text


def _is_text(text: str) -> bool:
    """Return False for text with a lone surrogate: JSON can escape one, but no encoding can represent it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lone_surrogate(field: str) -> NotClean:
    return NotClean(ErrorCode.INVALID_ENCODING, f"{field}: half of a surrogate pair is not text", field)


def unknown_fields(record: Mapping[str, object], columns: tuple[Column, ...], path: str = "") -> dict[str, object]:
    """Return the fields of a record that no column reads, by path. Numbers become JSON numbers."""
    unknown: dict[str, object] = {}
    for name, value in record.items():
        where = f"{path}{name}"
        below = [column for column in columns if column.path[0] == name]
        if not below:
            unknown[where] = _json_value(value)
            continue
        deeper = tuple(_below_first_step(column) for column in below if len(column.path) > 1)
        if deeper and isinstance(value, Mapping):
            unknown |= unknown_fields(value, deeper, f"{where}.")
        for column in below:
            if len(column.path) == 1 and column.kind is Kind.RECORD:
                within = parse_nested(value, where)  # cannot raise: validate_value has parsed it
                items = within if column.repeated and isinstance(within, list) else [within]
                for index, item in enumerate(items):
                    if isinstance(item, Mapping):
                        inner = f"{where}[{index}]." if column.repeated else f"{where}."
                        unknown |= unknown_fields(item, column.fields, inner)
    return unknown


def _below_first_step(column: Column) -> Column:
    return replace(column, source=column.path[1:])


def _json_value(value: object) -> object:
    """Return the value with JSON numbers; a number that neither 64 bits nor a double holds exactly stays text."""
    if isinstance(value, Number):
        number = int(value) if value.lstrip("-").isdigit() and len(value) < 19 else float(value)
        return number if isinstance(number, int) or repr(number) == value else str(value)
    if isinstance(value, Mapping):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return value
