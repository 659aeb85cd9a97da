"""CSV records: RFC 4180, whatever the pieces; a lost quote costs one record."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.csv_records import CsvRecords
from contracts.decoding.records import Split
from contracts.table import CsvDialect
from tests.contracts.in_pieces import Seen, in_pieces


def split(data: bytes, cuts: Iterable[int] = (), limit: int = 10_000, dialect: CsvDialect | None = None) -> Seen:
    """What the splitter makes of `data` in pieces that end at `cuts`."""
    return in_pieces(CsvRecords(0, limit, dialect or CsvDialect()), data, cuts)


CUTS = st.lists(st.integers(0, 60), max_size=30)
PIECES = st.lists(st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b" ", b"a", b"x" * 12]), max_size=30)


@given(PIECES, CUTS)
@settings(deadline=None, max_examples=400)
def test_records_are_the_same_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    assert split(data, cuts, limit=10) == split(data, limit=10)


@given(PIECES, CUTS)
@settings(deadline=None)
def test_a_record_is_the_bytes_at_its_position(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    records, refusals = split(data, cuts, limit=10)
    end = 0
    for position, raw in sorted([*records, *((at, head) for at, head, _ in refusals)]):
        assert position >= end
        assert data[position : position + len(raw)] == raw
        assert not data[end:position].strip(), "bytes that belong to no record"
        end = position + len(raw)
    assert not data[end:].strip()


FIELD = st.text(alphabet='ab ,"\né', max_size=6)
ROWS = st.lists(st.lists(FIELD, min_size=2, max_size=4), min_size=1, max_size=6)


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans(), CUTS)
@settings(deadline=None)
def test_clean_csv_splits_as_the_csv_module_reads_it(
    rows: list[list[str]], terminator: str, final: bool, cuts: list[int]
) -> None:
    sink = io.StringIO()
    csv.writer(sink, lineterminator=terminator).writerows(rows)
    text = sink.getvalue() if final else sink.getvalue().removesuffix(terminator)
    records, refusals = split(text.encode(), cuts)
    read = [next(csv.reader([raw.decode()], strict=True)) for _, raw in records]
    assert read == [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(row) or len(row) > 1]
    assert not refusals


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'1,"abc,3\n2,x,3\n3,"q",4\n', [b'1,"abc,3', b"2,x,3", b'3,"q",4']),
        (b'1,"a\nb",2\n3,4,5', [b'1,"a\nb",2', b"3,4,5"]),
        (b'1,"a""b,\n""",2\n', [b'1,"a""b,\n""",2']),
        (b'1,"open\n2,3\n', [b'1,"open', b"2,3"]),
        (b'1,"a"b,c\n2,d,e\n', [b'1,"a"b,c', b"2,d,e"]),
        (b"1,a\r\n\r\n \n2,b\r\n", [b"1,a", b"2,b"]),
    ],
)
def test_where_records_end(data: bytes, expected: list[bytes]) -> None:
    assert [raw for _, raw in split(data, range(len(data)))[0]] == expected


def test_delimiter_and_quote_of_the_dialect() -> None:
    records, _ = split(b"1;'a;\nb'\n2;c\n", dialect=CsvDialect(";", "'"))
    assert [raw for _, raw in records] == [b"1;'a;\nb'", b"2;c"]


def test_an_overlong_line_is_one_refusal_and_its_neighbours_are_read() -> None:
    data = b"a,b\n" + b"x" * 5000 + b"\r\nc,d"
    for step in (1, 7, 6000):
        records, refusals = split(data, range(0, len(data), step), limit=100)
        assert records == [(0, b"a,b"), (5006, b"c,d")]
        assert [(at, size) for at, _, size in refusals] == [(4, 5000)]


def test_an_overlong_line_that_ends_the_file_at_a_piece_is_not_lost() -> None:
    assert split(b"a\n" + b"x" * 500, [502], limit=100)[1] == [(2, b"x" * 500, 500)]


def test_an_overlong_quoted_record_is_one_refusal() -> None:
    data = b'a,b\n1,"' + b"line\n" * 40 + b'"\nc,d\n'
    records, refusals = split(data, range(0, len(data), 9), limit=100)
    assert [raw for _, raw in records] == [b"a,b", b"c,d"]
    assert [(at, size) for at, _, size in refusals] == [(4, 204)]


class Counting(CsvRecords):
    """Counts the lines that are read one by one."""

    looked_at = 0

    def _line(self, line: bytes, split: Split) -> None:
        self.looked_at += 1
        super()._line(line, split)


@pytest.mark.parametrize("line", [b'x",y,"z\n', b'"open\n', b'a,"b\n', b'",","\n', b'a"b,"c\n'])
@pytest.mark.parametrize("last", [b"", b'bad"bad\n'])
def test_lost_quotes_cost_linear_time(line: bytes, last: bytes) -> None:
    splitter = Counting(0, 1_000_000, CsvDialect())
    lines = 20_000
    splits = [splitter.feed(b'"z\n' + line * lines + last), splitter.end()]
    assert splitter.looked_at <= 3 * lines
    assert sum(len(part.records) for part in splits) > 0
