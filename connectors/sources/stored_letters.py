"""Dead letters decoded again, each from its own row alone: what would become of the record today."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol, TypeVar

import numpy as np

from connectors.files.csv_headers import csv_header
from connectors.files.names import InputFile
from connectors.sources.files import FileRange, blocks_of
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.decoding.letter_attributes import stored_attributes, stored_dialect, stored_header
from contracts.decoding.records import too_large
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Table

__all__ = ["StoredLetter", "WholeRecords", "blocks_again", "decode_again"]

T = TypeVar("T")
NOWHERE = np.array([], dtype=np.int64)
HEADER_ATTRIBUTES = ("header", "delimiter", "quote", "encoding", "nulls", "trim", "escape", "ragged")
"""Attributes of a CSV record that say how it is split into fields."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """What decoding a dead letter again needs of its row in `dead_letters`."""

    source: str
    position: int
    raw: bytes
    truncated: bool
    error_code: str
    error_message: str
    attributes: Mapping[str, object]
    run_id: str = ""
    """The run that refused it."""

    @classmethod
    def of(cls, row: Mapping[str, object]) -> StoredLetter:
        """Return the letter of a row. Raises ValueError for a row that no run has written."""
        return cls(
            str(row["source"]),
            _value(row, "position", int),
            _value(row, "raw", bytes),
            bool(row["truncated"]),
            str(row.get("error_code", "")),
            str(row.get("error_message", "")),
            stored_attributes(row["attributes"]),
            str(row.get("run_id", "")),
        )


class WholeRecords(Protocol):
    """Where the records are of which only the beginning is stored."""

    def blocks(self, letters: Iterable[StoredLetter], table: Table, max_record_bytes: int) -> Iterator[Block]:
        """Yield the whole records of truncated letters, or their refusals."""


def decode_again(row: Mapping[str, object], table: Table, max_record_bytes: int, today: date) -> Refusal | None:
    """The refusal that a dead letter meets now under `table`, None if its record is clean.

    `row` is a row of `dead_letters` (see transforms/dead_letters.py); of it `raw`, `position`, `source`,
    `truncated` and `attributes` (JSON, or its value) are read. A record of which only the beginning is stored
    stays refused as too large: the rest is at its position in its source. Raises ValueError for a row that no run has
    written.
    """
    letter = StoredLetter.of(row)
    attributes = letter.attributes
    if attributes.get("format") == "file":
        return _file(letter.raw, attributes, table, max_record_bytes)
    if attributes.get("header_record"):
        return csv_header(letter.raw, letter.position, replace(table, csv=stored_dialect(attributes)))[1]
    decoder = Decoder(table, lambda: today)
    refusals = [
        refusal
        for block in blocks_again([letter], table, max_record_bytes)
        for refusal in decoder.decode(block).refusals
    ]
    return refusals[0] if refusals else None


def blocks_again(
    letters: Iterable[StoredLetter], table: Table, max_record_bytes: int, whole: WholeRecords | None = None
) -> Iterator[Block]:
    """Put dead letters of one table into blocks, each of one source and one CSV header, in order of position.

    What is no record, or not the whole one, is refused again with its code: a file that could not be read, a CSV
    header, a record of which only the beginning is stored unless `whole` has the rest.
    """
    truncated: list[StoredLetter] = []
    groups: dict[tuple[str, str, str], list[StoredLetter]] = {}
    for letter in letters:
        if whole and letter.truncated and _size(letter) <= max_record_bytes:
            truncated.append(letter)
            continue
        if refusal := _without_record(letter, max_record_bytes):
            yield Block(letter.source, Format.JSON, [], NOWHERE, refusals=(refusal,))
            continue
        format = str(letter.attributes.get("format", Format.JSON.value))
        header = {name: letter.attributes.get(name) for name in HEADER_ATTRIBUTES} if format == Format.CSV.value else {}
        groups.setdefault((letter.source, format, json.dumps(header)), []).append(letter)
    for (source, format, _), same in groups.items():
        same.sort(key=lambda letter: letter.position)
        positions = np.array([letter.position for letter in same], dtype=np.int64)
        header_read = stored_header(same[0].attributes, table.read_columns) if format == Format.CSV.value else None
        yield Block(source, Format(format), [letter.raw for letter in same], positions, header_read)
    if whole and truncated:
        yield from whole.blocks(truncated, table, max_record_bytes)


def _without_record(letter: StoredLetter, max_record_bytes: int) -> Refusal | None:
    """Return why a dead letter cannot be decoded again, None if its record is there."""
    attributes, format = letter.attributes, str(letter.attributes.get("format", Format.JSON.value))
    if format == "file" or attributes.get("header_record"):
        message = f"{letter.error_message} (not a record: correct the file and load it again)"
        return Refusal(letter.position, b"", ErrorCode(letter.error_code), message)
    size = _size(letter)
    if size > max_record_bytes or letter.truncated:
        return too_large(letter.raw, letter.position, size, max_record_bytes, format)
    return None


def _size(letter: StoredLetter) -> int:
    """Return the size of the whole record in bytes."""
    return _value({"size": len(letter.raw), **letter.attributes}, "size", int)


def _value(row: Mapping[str, object], name: str, kind: type[T]) -> T:
    value = row[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


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
