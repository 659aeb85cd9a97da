"""Fields of any size are read, and csv's limit, which the process shares, is unchanged."""

from __future__ import annotations

import csv

import pytest

from contracts.decoding.csv_rows import parse_header, parse_row, parse_rows
from contracts.table import Column, CsvDialect, Kind, Table

TABLE = Table("t", (Column("id", Kind.STRING, required=True), Column("x", Kind.STRING)), ("id",))


@pytest.mark.parametrize("size", [99_990, 100_001, 131_072, 131_073, 1_000_000])
def test_a_field_of_any_size(size: int) -> None:
    before = csv.field_size_limit()
    header = parse_header(b"id,x", CsvDialect(), TABLE.read_columns)
    text = "x" * size
    raw = b'1,"' + text.encode() + b'"'
    assert parse_row(raw, header) == {"id": "1", "x": text}
    rows, malformed = parse_rows([raw, b"2,y"], header, TABLE)
    assert rows is not None
    assert malformed == []
    assert list(map(list, rows)) == [["1", "2"], [text, "y"]]
    assert csv.field_size_limit() == before


def test_a_quote_that_is_not_closed_spans_no_record() -> None:
    """Many short records after it are longer together than csv's limit for one field."""
    header = parse_header(b"id,x", CsvDialect(), TABLE.read_columns)
    records = [b'1,"open', *(b"%d,%s" % (number, b"y" * 90) for number in range(2, 3_000))]
    rows, _ = parse_rows(records, header, TABLE)
    assert rows is not None
    assert [len(column) for column in rows] == [len(records)] * 2
    assert rows[0][1:4] == ["2", "3", "4"]
