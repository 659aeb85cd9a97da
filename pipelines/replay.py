"""A dead letter decoded again, from its own row alone: what would become of the record today."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import TypeVar

import numpy as np

from connectors.files.csv_headers import csv_header
from connectors.files.names import InputFile
from connectors.sources.files import FileRange, blocks_of
from contracts.decoding.csv_rows import CsvHeader, parse_header
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.decoding.records import too_large
from contracts.refusal import Refusal
from contracts.table import CsvDialect, Table

__all__ = ["decode_again"]

T = TypeVar("T")


def decode_again(letter: Mapping[str, object], table: Table, max_record_bytes: int, today: date) -> Refusal | None:
    """The refusal that a dead letter meets now under `table`, None if its record is clean.

    `letter` is a row of `dead_letters` (see transforms/dead_letters.py); of it `raw`, `position`, `source`,
    `truncated` and `attributes` (JSON, or its value) are read. A record of which only the beginning is stored
    stays refused as too large: the rest is at its position in its source. Raises ValueError for a row that no run has
    written.
    """
    attributes = _attributes(letter)
    raw, position = _value(letter, "raw", bytes), _value(letter, "position", int)
    format = str(attributes.get("format", "json"))
    if format == "file":
        return _file(raw, attributes, table, max_record_bytes)
    if attributes.get("header_record"):
        return csv_header(raw, position, replace(table, csv=_dialect(attributes)))[1]
    size = _value({"size": len(raw), **attributes}, "size", int)
    if size > max_record_bytes or letter["truncated"]:
        return too_large(raw, position, size, max_record_bytes, format)
    header = _header(attributes, table) if format == "csv" else None
    block = Block(str(letter["source"]), Format(format), [raw], np.array([position], dtype=np.int64), header)
    refusals = Decoder(table, lambda: today).decode(block).refusals
    return refusals[0] if refusals else None


def _value(row: Mapping[str, object], name: str, kind: type[T]) -> T:
    value = row[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _attributes(letter: Mapping[str, object]) -> Mapping[str, object]:
    stored = letter["attributes"]
    value = json.loads(stored) if isinstance(stored, str) else stored
    return value if isinstance(value, Mapping) else {}


def _header(attributes: Mapping[str, object], table: Table) -> CsvHeader:
    """The header as it was read; one that was none has no names."""
    dialect, text = _dialect(attributes), attributes.get("header")
    if not isinstance(text, str):
        return CsvHeader(b"", (), dialect)
    return parse_header(text.encode(dialect.encoding), dialect, table.read_columns)


def _dialect(attributes: Mapping[str, object]) -> CsvDialect:
    nulls = _value({"nulls": [], **attributes}, "nulls", list)
    return CsvDialect(
        str(attributes["delimiter"]),
        str(attributes["quote"]),
        str(attributes["encoding"]),
        tuple(map(str, nulls)),
        trim=bool(attributes.get("trim")),
        escape=str(attributes.get("escape", "")),
        ragged=bool(attributes.get("ragged")),
    )


def _file(raw: bytes, attributes: Mapping[str, object], table: Table, max_record_bytes: int) -> Refusal | None:
    """A file that could not be read: read again what is stored of it."""
    name = f"file.{attributes['file_format']}"
    if compression := attributes["compression"]:
        name += f".{compression}"
    part = FileRange(InputFile(table.name, name, len(raw), 0))
    for block in blocks_of(io.BytesIO(raw), part, table, max_record_bytes):
        for refusal in block.refusals:
            if refusal.attributes.get("format") == "file":
                return refusal
    return None
