"""CSV records to values under a header (RFC 4180); where records begin and end is the reader's business."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.refusal import ErrorCode, NotClean
from contracts.table import CsvDialect, Table

__all__ = ["CsvHeader", "parse_header", "parse_row", "parse_rows", "texts_of"]

csv.field_size_limit(sys.maxsize)  # the limit on a record is the reader's, not the parser's


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The first record of a CSV file: its bytes, the names in it, and how the file is written."""

    raw: bytes
    names: tuple[str, ...]
    dialect: CsvDialect

    def attributes(self) -> dict[str, object]:
        """What a dead letter keeps, so that its record can be decoded again from it alone."""
        return {
            "header": self.raw.decode(self.dialect.encoding) if self.names else None,
            "delimiter": self.dialect.delimiter,
            "quote": self.dialect.quote,
            "encoding": self.dialect.encoding,
            "nulls": list(self.dialect.nulls),
        }


def parse_header(raw: bytes, dialect: CsvDialect) -> CsvHeader:
    """Read a header record; NotClean where it is no CSV or names a column twice."""
    names = tuple(name.strip() for name in _fields(_text(raw, dialect), dialect))
    return CsvHeader(raw, names, dialect)


def problem(header: CsvHeader, table: Table) -> str | None:
    """What makes the header unusable as a whole, None where nothing does."""
    twice = sorted({name for name in header.names if header.names.count(name) > 1})
    if twice:
        return f"the header names {', '.join(twice)} twice"
    return None


def parse_rows(records: Sequence[bytes], header: CsvHeader, table: Table) -> list[Sequence[object]] | None:
    """One list of texts a read column (None: an empty field), or None where records must be judged one by one."""
    if problem(header, table) or table.unknown_fields.value != "ignore":
        return None
    dialect = header.dialect
    texts = texts_of(records, dialect.encoding)
    width = len(header.names)
    try:
        rows = list(csv.reader(texts, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True))
    except csv.Error:
        rows = []
    if len(rows) != len(texts):  # a bad record, or one that swallowed its neighbour
        rows = [_lenient(text, dialect, width) for text in texts]
    blank = [""] * width
    columns = list(zip(*(row if len(row) == width else blank for row in rows), strict=True))
    nulls = {"", *dialect.nulls}
    index = {name: number for number, name in enumerate(header.names)}
    return [
        [None if value in nulls else value for value in columns[index[column.path[0]]]]
        if len(column.path) == 1 and column.path[0] in index else [None] * len(texts)
        for column in table.read_columns
    ]  # fmt: skip


def texts_of(records: Sequence[bytes], encoding: str) -> list[str]:
    """The records as text; one that is not in `encoding` becomes an empty text, which no record is."""
    try:
        joined = b"\n".join(records).decode(encoding)
    except UnicodeDecodeError:
        return [_text_or_empty(raw, encoding) for raw in records]
    texts = joined.split("\n")
    return texts if len(texts) == len(records) else [raw.decode(encoding) for raw in records]


def _text_or_empty(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return ""


def parse_row(raw: bytes, header: CsvHeader, table: Table) -> Mapping[str, object]:
    """The fields of one record by name; an empty field is None. NotClean where it is no record of this file."""
    if found := problem(header, table):
        raise NotClean(ErrorCode.MALFORMED_CSV, found)
    dialect = header.dialect
    fields = _fields(_text(raw, dialect), dialect)
    if len(fields) != len(header.names):
        message = f"{len(fields)} fields where the header has {len(header.names)}"
        raise NotClean(ErrorCode.MALFORMED_CSV, message)
    nulls = {"", *dialect.nulls}
    return {name: None if value in nulls else value for name, value in zip(header.names, fields, strict=True)}


def _lenient(text: str, dialect: CsvDialect, width: int) -> list[str]:
    """The fields, or all empty for a record that must be judged; an empty required key sends it to the judge."""
    try:
        return _fields(text, dialect)
    except NotClean:
        return [""] * width


def _text(raw: bytes, dialect: CsvDialect) -> str:
    try:
        return raw.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not {dialect.encoding}"
        raise NotClean(ErrorCode.INVALID_ENCODING, message) from None


def _fields(text: str, dialect: CsvDialect) -> list[str]:
    try:
        rows = list(csv.reader([text], delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True))
    except csv.Error as error:
        raise NotClean(ErrorCode.MALFORMED_CSV, str(error)) from None
    if len(rows) != 1:
        raise NotClean(ErrorCode.MALFORMED_CSV, "not one record")
    return rows[0]
