"""Headers of files: the limits of a CSV header, the blocks below it, and which columns of the contract it lacks."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np

from connectors.files.names import InputFile
from connectors.files.unreadable import Unreadable
from contracts.classification import MASK, has_masked
from contracts.decoding.csv_records import CsvRecords
from contracts.decoding.csv_rows import MAX_HEADER_BYTES, MAX_HEADER_COLUMNS, CsvHeader, implied_header, parse_header
from contracts.decoding.decoder import Block, Format
from contracts.decoding.field_names import match_names
from contracts.decoding.path_values import path_texts
from contracts.decoding.records import Fields, splits
from contracts.refusal import ErrorCode, NotClean, Refusal
from contracts.table import Column, Table
from transforms.ledger import SHOWN_NAMES, FileColumns

__all__ = ["csv_blocks", "csv_header", "file_columns", "with_dialect"]

SAMPLED_RECORDS = 100
"""How many records of a JSON file are inspected for keys in another case."""


def csv_blocks(file: InputFile, pieces: Iterable[bytes], splitter: CsvRecords, table: Table) -> Iterator[Block]:
    """Yield the CSV blocks of a file, each with the header.

    A header that names no column of the contract is refused as well: it may be a record of a file without a header.
    Raises Unreadable if the header is too long or has too many columns.
    """
    header: CsvHeader | None = None if table.csv.header else implied_header(table)
    for split in splits(pieces, splitter):
        refusals = list(split.refusals)
        if header is None and refusals and refusals[0].position < min(split.positions, default=sys.maxsize):
            raise _long_header(refusals[0].position, refusals[0].size or 0)
        if header is None and split.records:
            raw, position = split.records.pop(0), split.positions.pop(0)
            if len(raw) > MAX_HEADER_BYTES:
                raise _long_header(position, len(raw))
            header, refusal = csv_header(raw, position, table)
            if len(header.names) > MAX_HEADER_COLUMNS:
                why = f"its header has {len(header.names):,} columns, more than {MAX_HEADER_COLUMNS:,}"
                raise Unreadable(position, why, ErrorCode.MALFORMED_CSV)
            refusals += [refusal] if refusal else []
        if header:
            known = header.attributes
            refusals = [dataclasses.replace(each, attributes={**known, **each.attributes}) for each in refusals]
        if split.records or refusals:
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(file.uri, Format.CSV, split.records, positions, header, tuple(refusals))


def file_columns(file: InputFile, block: Block, table: Table) -> FileColumns | None:
    """Return the columns in the header (CSV) or the schema (Parquet) of a block's file, and the missing ones.

    None for a block without either. JSON has no header: see `_json_columns`.
    """
    if block.header:
        fields: Fields = dict.fromkeys(block.header.names)
    elif block.fields is not None:
        steps = {column.path[0] for column in table.read_columns}
        called = match_names(block.fields, steps)
        fields = {field or name: block.fields[name] for name, field in zip(block.fields, called, strict=True)}
    else:
        return _json_columns(file, block, table)
    names = tuple(_paths(fields if block.fields is None else block.fields))
    if block.header and has_masked(table) and not any(column.path[0] in fields for column in table.read_columns):
        names = (MASK,)  # names that the contract does not know at all may be the values of a file without a header
    from_path = path_texts(file.uri, table.read_columns)
    columns = [column for index, column in enumerate(table.read_columns) if index not in from_path]
    return FileColumns(table.name, file.uri, names[:SHOWN_NAMES], tuple(_missing(columns, fields)))


def _json_columns(file: InputFile, block: Block, table: Table) -> FileColumns | None:
    """Return the keys in the first records of a block of JSON; None if no record has one.

    A column is missing if no record has its key, and some have it in another case: JSON's keys are matched exactly, so
    the column is NULL. What other records have is not known.
    """
    keys: set[str] = set()
    for raw in block.records[:SAMPLED_RECORDS]:
        with suppress(ValueError, RecursionError):
            record = json.loads(raw)
            keys.update(record if isinstance(record, dict) else ())
    if not keys:
        return None
    from_path = path_texts(file.uri, table.read_columns)
    columns = [column for index, column in enumerate(table.read_columns) if index not in from_path]
    steps = {column.path[0] for column in columns}
    called = {field for key, field in zip(keys, match_names(keys, steps), strict=True) if field not in (None, key)}
    missing = tuple(column.name for column in columns if column.path[0] in called - keys)
    unknown = tuple(column.name for column in columns if column.path[0] not in called | keys)
    return FileColumns(table.name, file.uri, tuple(sorted(keys))[:SHOWN_NAMES], missing, missing, unknown)


def _paths(fields: Fields) -> Iterator[str]:
    """Yield the paths of all leaves, such as `user.id`."""
    for name, within in fields.items():
        yield from (f"{name}.{path}" for path in _paths(within)) if within else (name,)


def _missing(columns: Iterable[Column], fields: Fields) -> Iterator[str]:
    """Yield the paths of the columns, and of the fields in them, that have no source in `fields`."""
    for column in columns:
        within: Fields | None = fields
        for step in column.path:
            if within is None or step not in within:
                yield column.name
                break
            within = within[step]
        else:
            if column.fields and within:  # a file may hold an object as text, too
                yield from (f"{column.name}.{name}" for name in _missing(column.fields, within))


def _long_header(position: int, size: int) -> Unreadable:
    why = f"its header has {size:,} bytes, more than {MAX_HEADER_BYTES:,}"
    return Unreadable(position, why, ErrorCode.RECORD_TOO_LARGE)


def csv_header(raw: bytes, position: int, table: Table) -> tuple[CsvHeader, Refusal | None]:
    """Parse the first record of a CSV file as its header; return it, and its refusal if it is not a header."""
    try:
        header = parse_header(raw, table.csv, table.read_columns)
        if any(column.path[0] in header.names for column in table.read_columns):
            return header, None
        raise NotClean(ErrorCode.MALFORMED_CSV, "the header names no column of the contract")
    except NotClean as reason:
        header = CsvHeader(raw, (), table.csv) if reason.code is ErrorCode.INVALID_ENCODING else _unnamed(raw, table)
        attributes = {"format": "csv", "header_record": True, **CsvHeader(b"", (), table.csv).attributes}
        return header, Refusal(position, raw, reason.code, reason.message, attributes=attributes)


def with_dialect(table: Table, format: str, delimiter: str = "") -> Table:
    """Return the table with the CSV dialect of files of this format: the delimiter of .tsv files is a tab.

    `delimiter` is the one that the file itself names, if it does.
    """
    delimiter = delimiter or ("\t" if format == "tsv" else "")
    return dataclasses.replace(table, csv=dataclasses.replace(table.csv, delimiter=delimiter)) if delimiter else table


def _unnamed(raw: bytes, table: Table) -> CsvHeader:
    try:
        return parse_header(raw, table.csv, table.read_columns)
    except NotClean:
        return CsvHeader(raw, (), table.csv)
