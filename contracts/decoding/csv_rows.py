"""Parse CSV records into fields under a header (RFC 4180). csv_records.py cuts the file into records."""

from __future__ import annotations

import csv
import io
import re
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from contracts.decoding.field_names import match_names
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, CsvDialect, Table

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_HEADER_COLUMNS",
    "CsvHeader",
    "implied_header",
    "parse_header",
    "parse_row",
    "parse_rows",
    "texts_of",
    "trimmed",
]

SHORT_TEXT = 100_000
"""A field of a text of at most this many characters is within csv's default limit of 131,072."""
_field_size_lock = threading.Lock()

FURTHER = ("trim", "escape", "ragged")
"""Options of a dialect that a dead letter stores if they are not the default."""
PLAIN = CsvDialect()
MAX_HEADER_BYTES = 64 << 10
"""The maximum size of a header: every dead letter of its file stores it."""
MAX_HEADER_COLUMNS = 10_000
"""The limit of a table in BigQuery."""


@dataclass(frozen=True)
class CsvHeader:
    """The header of a CSV file: its bytes, its names, and the dialect of the file.

    `names` that match a field of the contract are spelled as in the contract. `problem` says why no record can be read
    under this header; None if there is no problem.
    """

    raw: bytes
    names: tuple[str, ...]
    dialect: CsvDialect
    problem: str | None = None

    @cached_property
    def attributes(self) -> Mapping[str, object]:
        """What a dead letter stores of the header, so that its record can be decoded again from it alone."""
        return {
            "header": self.raw.decode(self.dialect.encoding) if self.names else None,
            "delimiter": self.dialect.delimiter,
            "quote": self.dialect.quote,
            "encoding": self.dialect.encoding,
            "nulls": list(self.dialect.nulls),
            **{name: value for name in FURTHER if (value := getattr(self.dialect, name)) != getattr(PLAIN, name)},
        }


def parse_header(raw: bytes, dialect: CsvDialect, columns: Iterable[Column] = ()) -> CsvHeader:
    """Parse the header of a file.

    Names that match a field of `columns` (see field_names.py) are spelled as in the contract; the others lose their
    outer blanks. Raises NotClean if the header is not CSV.
    """
    written = [name.strip() for name in _fields(_text(raw, dialect), dialect)]
    fields = {column.path[0] for column in columns if len(column.path) == 1}
    names = tuple(
        name if field is None else field for name, field in zip(written, match_names(written, fields), strict=True)
    )
    return CsvHeader(raw, names, dialect, _duplicates(names, written))


def implied_header(table: Table) -> CsvHeader:
    """Return the header of files without one: the fields of the read columns, in the contract's order."""
    columns = [column for column in table.read_columns if column.path_part is None and not column.file_name]
    names = dict.fromkeys(column.path[0] for column in columns)
    line = io.StringIO()
    csv.writer(
        line, delimiter=table.csv.delimiter, quotechar=table.csv.quote, lineterminator="", quoting=csv.QUOTE_ALL
    ).writerow(names)
    return CsvHeader(line.getvalue().encode(table.csv.encoding), tuple(names), table.csv)


def _duplicates(names: Sequence[str], written: Sequence[str]) -> str | None:
    """Return the message about duplicate names, or None; `written` are the names as the file spells them."""
    counts = Counter(names)
    duplicates = sorted(name for name, count in counts.items() if count > 1)
    if not duplicates:
        return None
    spellings = sorted({spelling for name, spelling in zip(names, written, strict=True) if counts[name] > 1})
    as_written = f" ({', '.join(spellings)}; case is ignored)" if spellings != duplicates else ""
    return f"the header has duplicate columns: {', '.join(duplicates)}{as_written}"


def parse_rows(
    records: Sequence[bytes], header: CsvHeader, table: Table
) -> tuple[list[Sequence[object]] | None, list[int]]:
    """Return one list of texts per read column, None for an empty field, and the indices of malformed records.

    The values of malformed records are null. Returns None instead of the lists if every record must be validated by
    itself.
    """
    if header.problem or table.unknown_fields.value != "ignore":
        return None, []
    dialect = header.dialect
    texts = texts_of(records, dialect.encoding)
    width = len(header.names)
    try:
        rows = _read(texts, dialect)
    except csv.Error:
        rows = []
    if len(rows) != len(texts):  # a malformed record, or an open quote that ran into the next record
        rows = [_fields_or_none(text, dialect) for text in texts]
    blank = [""] * width
    if dialect.ragged:
        rows = [[*row, *blank[len(row) :]] if 0 < len(row) < width else row for row in rows]
    malformed = [number for number, row in enumerate(rows) if len(row) != width]
    for number in malformed:
        rows[number] = blank
    columns = list(zip(*rows, strict=True))
    nulls = {"", *dialect.nulls}
    index = {name: number for number, name in enumerate(header.names)}
    values: list[Sequence[object]] = [
        _without_nulls(columns[index[column.path[0]]], nulls, trim=dialect.trim or column.trim)
        if len(column.path) == 1 and column.path[0] in index
        else [None] * len(texts)
        for column in table.read_columns
    ]
    return values, malformed


def _without_nulls(values: Iterable[str], nulls: Collection[str], trim: bool) -> list[str | None]:
    if trim:
        values = map(str.strip, values)
    return [None if value in nulls else value for value in values]


def trimmed(value: object, header: CsvHeader) -> object:
    """Return a value of `parse_row` without blanks around it, None if it is null then."""
    text = value.strip() if isinstance(value, str) else value
    return None if text == "" or text in header.dialect.nulls else text


def texts_of(records: Sequence[bytes], encoding: str) -> list[str]:
    """Return the records as text. A record that is not in `encoding` becomes an empty text, which no real record is."""
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


def parse_row(raw: bytes, header: CsvHeader) -> Mapping[str, object]:
    """Return the fields of one record by name, None for an empty field.

    Raises NotClean if the record does not fit the header or is not CSV.
    """
    if header.problem:
        raise NotClean(ErrorCode.MALFORMED_CSV, header.problem)
    dialect = header.dialect
    fields = _fields(_text(raw, dialect), dialect)
    if dialect.ragged:
        fields += [""] * (len(header.names) - len(fields))
    if len(fields) != len(header.names):
        message = f"the record has {len(fields)} fields, the header has {len(header.names)}"
        raise NotClean(ErrorCode.MALFORMED_CSV, message)
    nulls = {"", *dialect.nulls}
    return dict(zip(header.names, _without_nulls(fields, nulls, dialect.trim), strict=True))


def _fields_or_none(text: str, dialect: CsvDialect) -> list[str]:
    """Return the fields; no field if the record is malformed."""
    try:
        return _fields(text, dialect)
    except NotClean:
        return []


def _text(raw: bytes, dialect: CsvDialect) -> str:
    try:
        return raw.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        message = f"byte {error.start} of the record is not {dialect.encoding}"
        raise NotClean(ErrorCode.INVALID_ENCODING, message) from None


def _fields(text: str, dialect: CsvDialect) -> list[str]:
    try:
        rows = _read([text], dialect)
    except csv.Error as error:
        raise NotClean(ErrorCode.MALFORMED_CSV, str(error)) from None
    if len(rows) != 1:
        raise NotClean(ErrorCode.MALFORMED_CSV, "the line breaks make it more than one record")
    return rows[0]


def _with_null_markers(text: str, dialect: CsvDialect) -> str:
    r"""Double the escape character of fields that are a null marker such as `\N`, which would become N otherwise."""
    for marker in dialect.nulls:
        if marker.startswith(dialect.escape) and marker in text:
            bounds = re.escape(dialect.delimiter)
            field = rf"(?:^|(?<={bounds})){re.escape(marker)}(?={bounds}|\r?$)"
            text = re.sub(field, lambda match: dialect.escape + match[0], text)
    return text


def _read(texts: Sequence[str], dialect: CsvDialect) -> list[list[str]]:
    """Parse texts as CSV, with fields of any size: the source of a block limits its records. Raises csv.Error."""
    escape = dialect.escape or None
    if escape:
        texts = [_with_null_markers(text, dialect) for text in texts]
    reader = csv.reader(texts, delimiter=dialect.delimiter, quotechar=dialect.quote, escapechar=escape, strict=True)
    if max(map(len, texts), default=0) <= SHORT_TEXT:
        return list(reader)
    with _field_size_lock:  # csv has one limit for the process
        limit = csv.field_size_limit(sys.maxsize)
        try:
            return list(reader)
        finally:
            csv.field_size_limit(limit)
