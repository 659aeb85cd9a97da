"""Files to blocks: which files are a table's, every record at its position, and what a damaged file still gives."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files.names import InputFile
from connectors.files.readers import FileReader, ReadFailed
from connectors.files.storage import Storage
from connectors.sinks.parquet import DEAD_LETTER_FILE_BYTES, file_groups
from connectors.sources.files import FileRange, blocks_of, ranges, read_blocks
from contracts.decoding.csv_records import CsvRecords
from contracts.decoding.decoder import Block, Decoder
from contracts.decoding.json_array import JsonArray
from contracts.decoding.json_records import JsonLines
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table
from tests import runs
from transforms.dead_letters import dead_letters

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TABLE = Table("t", (Column("id", Kind.STRING, required=True), Column("x", Kind.INTEGER)), ("id",))
LIMIT = 1_000_000
RUN = replace(
    runs.RUN,
    run_id="r",
    token="t",
    started_at=datetime(2024, 6, 15, tzinfo=UTC),
    project="p",
    operations_dataset="o",
    processed="f",
    dead_letters="d",
    max_record_bytes=LIMIT,
    max_dead_letter_ratio=0.2,
)


def blocks(name: str, data: bytes, limit: int = LIMIT, table: Table = TABLE) -> list[Block]:
    part = FileRange(InputFile("t", name, len(data), 0))
    return list(blocks_of(io.BytesIO(data), part, table, limit))


def records(result: list[Block]) -> list[tuple[int, bytes]]:
    return [(int(at), raw) for block in result for at, raw in zip(block.positions, block.records, strict=True)]


def refusals(result: list[Block]) -> list[Refusal]:
    return [refusal for block in result for refusal in block.refusals]


def codes(name: str, data: bytes, table: Table = TABLE) -> tuple[int, list[str]]:
    """Clean rows, and the codes of what was refused."""
    decoder = Decoder(table, lambda: date(2024, 6, 15))
    decoded = [decoder.decode(block) for block in blocks(name, data, table=table)]
    return sum(len(each.rows) for each in decoded), [r.code.value for each in decoded for r in each.refusals]


LINES = st.lists(st.sampled_from([b'{"id":"1"}', b"", b" ", b"x" * 40, b'{"id":"2"}\r']), max_size=30)


@given(LINES, st.booleans(), st.integers(4, 60), st.booleans())
@settings(deadline=None)
def test_ranges_give_exactly_the_records_of_one_reading(lines: list[bytes], final: bool, size: int, bom: bool) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + b"\n".join(lines) + (b"\n" if final else b"")
    file = InputFile("t", "t.ndjson", len(data), 0)
    starts = range(0, len(data), size)
    parts = [FileRange(file, start, min(start + size, len(data))) for start in starts]
    result = [block for part in parts for block in blocks_of(io.BytesIO(data), part, TABLE, 20)]
    whole = blocks("t.ndjson", data, limit=20)
    assert records(result) == records(whole)
    assert [(r.position, r.raw, r.size) for r in refusals(result)] == [
        (r.position, r.raw, r.size) for r in refusals(whole)
    ]


@pytest.mark.parametrize(
    ("name", "head", "count"),
    [("t.ndjson", b"", 5), ("t.json", b"", 5), ("t.json", b" [", 1), ("t.json", b"\xff\xfe", 1), ("t.csv", b"", 1)],
)
def test_only_plain_lines_of_json_have_ranges(tmp_path: Path, name: str, head: bytes, count: int) -> None:
    path = tmp_path / name
    path.write_bytes(head + b"\n" * (50 - len(head)))
    file = InputFile("t", str(path), 50, path.stat().st_mtime_ns)
    assert len(list(ranges(Storage(), file, range_bytes=10))) == count


ROWS = [b'{"id":"%d","x":%d}' % (number, number * 7919) for number in range(400)]
NDJSON = b"\n".join(ROWS) + b"\n"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress}


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_files_and_files_of_several_members(compression: str) -> None:
    compress, half = COMPRESS[compression], len(NDJSON) // 2
    whole = records(blocks("t.ndjson", NDJSON))
    assert len(whole) == 400
    assert records(blocks(f"t.ndjson.{compression}", compress(NDJSON))) == whole
    two = compress(NDJSON[:half]) + compress(NDJSON[half:])
    assert records(blocks(f"t.ndjson.{compression}", two)) == whole


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_truncated_file_gives_its_beginning_and_one_dead_letter(compression: str) -> None:
    data = COMPRESS[compression](NDJSON)
    whole = records(blocks("t.ndjson", NDJSON))
    most = 0
    for cut in [*range(1, len(data) - 1, max(1, len(data) // 60)), len(data) - 1]:
        result = blocks(f"t.ndjson.{compression}", data[:cut])
        (letter,) = refusals(result)
        assert letter.code.value == "invalid_encoding"
        assert letter.raw == data[:cut]
        assert letter.attributes["format"] == "file"
        got = records(result)
        assert got == whole[: len(got)]
        assert len(got) == NDJSON[: letter.position].count(b"\n")
        most = max(most, len(got))
    assert most > 300 or compression == "zst"


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_bad_byte_costs_nothing_that_came_before_it(compression: str) -> None:
    chance = random.Random(3)
    large = b"".join(b'{"id":"%d","x":%d}\n' % (number, chance.getrandbits(60)) for number in range(200_000))
    data = COMPRESS[compression](large)
    for share in (0.001, 0.3, 0.7, 0.99):
        at = int(len(data) * share)
        before = records(blocks(f"t.ndjson.{compression}", data[:at]))
        # A bad byte may be read as another one first, and found out a little later.
        broken = data[:at] + bytes([data[at] ^ 0xFF]) + b"\xff" * 50_000 + data[at + 50_001 :]
        result = blocks(f"t.ndjson.{compression}", broken)
        assert records(result)[: len(before)] == before
        assert share < 0.1 or len(before) > 20_000
        assert [letter.code.value for letter in refusals(result)][-1:] == ["invalid_encoding"]


def test_a_wrong_checksum_in_gzip_keeps_every_record() -> None:
    data = bytearray(gzip.compress(NDJSON))
    data[-6] ^= 0xFF
    result = blocks("t.ndjson.gz", bytes(data))
    assert records(result) == records(blocks("t.ndjson.gz", gzip.compress(NDJSON)))
    assert [letter.code.value for letter in refusals(result)] == ["invalid_encoding"]


BAD: list[tuple[str, bytes, int, list[str]]] = [
    ("t.csv", b"", 0, []),
    ("t.ndjson", b"", 0, []),
    ("t.json", b"[]", 0, []),
    ("t.csv", b"id,x\n", 0, []),
    ("t.csv", b"id,x", 0, []),
    ("t.csv", b"\xef\xbb\xbfid,x\r\n1,2\r\n", 1, []),
    ("t.csv", b"x,id\n1,2\n", 1, []),
    ("t.csv", b"one,two\n1,2\n", 0, ["malformed_csv", "missing_required"]),
    ("t.csv", b"1,,\n2,,\n", 0, ["malformed_csv"] * 2),
    ("t.csv", b"x\n1\n2\n", 0, ["missing_required"] * 2),
    ("t.csv", b"id\n1\n2\n", 2, []),
    ("t.csv", b"id,x,x\n1,2,3\n", 0, ["malformed_csv"]),
    ("t.csv", b"id,x\n1,\x00\n", 0, ["wrong_type"]),
    ("t.csv", b'id,x\n"' + b"i" * 900_000 + b'",1\n', 1, []),
    ("t.csv", b"id,x\n1,2\n3", 1, ["malformed_csv"]),
    ("t.ndjson", b'{"id":"1"}\n{"id":"2"', 1, ["malformed_json"]),
    ("t.ndjson", b'{"id":"1"}\n[{"id":"2"}]\n', 1, ["malformed_json"]),
    ("t.json", b'[{"id":"1"}, {"id":"2"}]', 2, []),
    ("t.json", b'\xef\xbb\xbf [{"id":"1"},\n{"id":', 1, ["malformed_json"]),
    ("t.csv", "id,x\n1,2\n".encode("utf-16"), 0, ["invalid_encoding"]),
    ("t.ndjson", '{"id":"1"}\n'.encode("utf-16"), 0, ["invalid_encoding"]),
    ("t.csv.gz", b"id,x\n1,2\n", 0, ["invalid_encoding"]),
    ("t.csv.zst", b"id,x\n1,2\n", 0, ["invalid_encoding"]),
    ("t.csv.gz", b"", 0, []),
    ("t.parquet", b"id,x\n1,2\n", 0, ["invalid_encoding"]),
    ("t.parquet", b"", 0, ["invalid_encoding"]),
    ("t.parquet.gz", b"no gzip", 0, ["invalid_encoding"]),
]


@pytest.mark.parametrize(("name", "data", "rows", "expected"), BAD, ids=[f"{n}-{b[0]}" for n, b in enumerate(BAD)])
def test_bad_files(name: str, data: bytes, rows: int, expected: list[str]) -> None:
    assert codes(name, data) == (rows, expected)


def test_a_line_of_50_mb_is_one_dead_letter() -> None:
    size = 50_000_000
    for name in ("t.ndjson", "t.csv"):
        data = b"id\n" * (name == "t.csv") + b"x" * size + b"\n" + (b"1" if name == "t.csv" else b'{"id":"1"}')
        result = blocks(name, data)
        (letter,) = refusals(result)
        assert (letter.code.value, letter.size, len(letter.raw)) == ("record_too_large", size, 8_000_000)
        assert len(records(result)) == 1


def parquet_of(**columns: pa.Array[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


MOMENT = datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC)


def typed() -> Iterator[tuple[str, pa.Array[Any], object]]:
    naive = MOMENT.replace(tzinfo=None)
    yield "decimal", pa.array([Decimal("12.500")], pa.decimal128(10, 3)), "12.500"
    yield "us", pa.array([naive], pa.timestamp("us")), "2024-02-29T12:00:00.000005"
    yield "tz", pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), "2024-02-29T12:00:00.000005Z"
    yield "ns", pa.array([naive], pa.timestamp("ns")), "2024-02-29T12:00:00.000005"
    yield "day", pa.array([date(2024, 2, 29)]), "2024-02-29"
    yield "list", pa.array([[1, None]]), [1, None]
    yield "struct", pa.array([{"a": 1, "b": "c"}]), {"a": 1, "b": "c"}
    yield "nan", pa.array([float("nan")]), "nan"
    yield "inf", pa.array([float("-inf")]), "-inf"
    yield "text", pa.array([b"text"], pa.binary()), "text"
    yield "large", pa.array([2**63 + 1], pa.uint64()), 2**63 + 1
    yield "flag", pa.array([True]), True
    yield "nothing", pa.array([None], pa.int64()), None
    yield "words", pa.array(["a"]).dictionary_encode(), "a"


@pytest.mark.parametrize(("name", "array", "expected"), list(typed()), ids=[each[0] for each in typed()])
def test_parquet_types_as_json(name: str, array: pa.Array[Any], expected: object) -> None:
    (record,) = records(blocks("t.parquet", parquet_of(id=pa.array(["1"]), x=array)))
    assert record[0] == 0
    assert json.loads(record[1]) == {"id": "1", "x": expected}


def test_a_timestamp_with_nanoseconds_keeps_its_digits() -> None:
    column = pa.array([1_709_208_000_000_000_001], pa.timestamp("ns"))
    ((_, raw),) = records(blocks("t.parquet", parquet_of(id=pa.array(["1"]), x=column)))
    assert "000000001" in json.loads(raw)["x"]


def test_positions_in_parquet_are_row_numbers() -> None:
    count = 40_000
    data = parquet_of(id=pa.array([str(number) for number in range(count)]))
    assert [at for at, _ in records(blocks("t.parquet", data))] == list(range(count))
    assert codes("t.parquet", data) == (count, [])


def read(folder: Path, names: list[str], **more: int) -> list[Block]:
    """The blocks of files of a folder, as a run reads them."""
    result = []
    for name in names:
        path = folder / name
        file = InputFile("t", str(path), path.stat().st_size, path.stat().st_mtime_ns)
        result += list(read_blocks(Storage(), FileRange(file), TABLE, LIMIT, **more))
    return result


@pytest.mark.parametrize(
    ("cutter", "name"),
    [(JsonLines, "_lines"), (JsonArray, "_emit"), (CsvRecords, "_record")],
    ids=["ndjson", "json", "csv"],
)
def test_what_a_cutter_raises_is_one_files_refusal(
    cutter: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file in many has bytes that nobody foresaw: it is refused from there on, and the others are read."""
    form = {"_lines": "ndjson", "_emit": "json", "_record": "csv"}[name]
    original = getattr(cutter, name)

    def raising(self: Any, data: Any, *rest: Any) -> None:
        if b"BOOM" in (data if isinstance(data, bytes) else self._buffer[self._element : data]):
            raise OverflowError("an integer of the parser's own")
        original(self, data, *rest)

    monkeypatch.setattr(cutter, name, raising)
    head, unit = {"ndjson": (b"", b'{"id":"1"}\n'), "json": (b"[", b'{"id":"1"},'), "csv": (b"id\n", b"1\n")}[form]
    tail = b"]" if form == "json" else b""
    for number in range(20):
        bad = unit * ((2 << 20) // len(unit)) + b'"BOOM",\n' if number == 7 else b""
        (tmp_path / f"t_{number}.{form}").write_bytes(head + unit * 3 + bad + unit + tail)
    result = read(tmp_path, [f"t_{number}.{form}" for number in range(20)])
    (refusal,) = [refusal for block in result for refusal in block.refusals]
    assert refusal.message == "the file cannot be read: OverflowError: an integer of the parser's own"
    assert refusal.attributes["format"] == "file"
    assert refusal.position > 0
    assert len({block.source for block in result}) == 20


def test_what_is_not_about_the_data_ends_the_run() -> None:
    class Away(FileReader):
        def fetch(self, start: int, end: int) -> bytes:
            raise ReadFailed("the storage is away")

    for name, data in (
        ("t.parquet", parquet_of(id=pa.array(["1"]))),
        ("t.ndjson", NDJSON * 100),
        ("t.csv.gz", gzip.compress(NDJSON * 300)),
    ):
        with pytest.raises(ReadFailed):
            list(blocks_of(Away(name, len(data), 8), FileRange(InputFile("t", name, len(data), 0)), TABLE, LIMIT))


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_file_that_becomes_too_large_is_cut_off(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.sources.files.EXPANSION_FROM", 3_000_000)
    bomb, honest = b'{"id":"0"}\n' * 1_000_000, NDJSON * 100
    (tmp_path / f"t_1.ndjson.{compression}").write_bytes(COMPRESS[compression](bomb))
    (tmp_path / f"t_2.ndjson.{compression}").write_bytes(COMPRESS[compression](honest))
    result = read(tmp_path, [f"t_1.ndjson.{compression}"], max_expansion=20)
    (letter,) = refusals(result)
    assert "it decompresses to more than 3,000,000 bytes" in letter.message
    assert 2_000_000 // 11 < len(records(result)) <= 3_000_000 // 11
    assert not refusals(read(tmp_path, [f"t_1.ndjson.{compression}"], max_expansion=20_000))
    assert len(records(read(tmp_path, [f"t_2.ndjson.{compression}"], max_expansion=1))) == 40_000


@pytest.mark.parametrize("layers", [("gz",), ("zst",), ("gz", "gz"), ("gz", "zst")])
def test_layers_of_compression_that_no_name_tells(layers: tuple[str, ...]) -> None:
    data = NDJSON
    for layer in layers:
        data = COMPRESS[layer](data)
    for name in ("t.ndjson", f"t.ndjson.{layers[-1]}"):
        assert records(blocks(name, data)) == records(blocks("t.ndjson", NDJSON))
        cut = blocks(name, data[: len(data) * 2 // 3])
        assert [each.code.value for each in refusals(cut)] == ["invalid_encoding"]
        got = records(cut)
        assert got == records(blocks("t.ndjson", NDJSON))[: len(got)]


def test_three_layers_of_compression_are_too_many() -> None:
    data = gzip.compress(gzip.compress(gzip.compress(NDJSON)))
    (letter,) = refusals(blocks("t.ndjson.gz", data))
    assert "compressed more than 2 times" in letter.message


HEADERS: list[tuple[bytes, int, list[str]]] = [
    (b"ID, X \n1,2\n", 1, []),
    (b'"Id","x"\n1,2\n', 1, []),
    (b"id,X,x\n1,2,3\n", 0, ["malformed_csv"]),
    (b"id,ID\n1,2\n", 0, ["malformed_csv"]),
    (b"id,x,other,Other\n1,2,3,4\n", 1, []),
    (b"id,x," + b"y" * 70_000 + b"\n1,2,3\n", 0, ["record_too_large"]),
    (b"id,x," + b"y" * (LIMIT + 1) + b"\n1,2,3\nid,x\n1,2\n", 0, ["record_too_large"]),
    (b"id,x" + b",y" * 10_000 + b"\n1,2,3\n", 0, ["malformed_csv"]),
]


@pytest.mark.parametrize(("data", "rows", "expected"), HEADERS, ids=range(len(HEADERS)))
def test_headers(data: bytes, rows: int, expected: list[str]) -> None:
    assert codes("t.csv", data) == (rows, expected)


def test_fields_that_differ_in_case_only_are_matched_exactly() -> None:
    table = Table("t", (Column("id", Kind.STRING, required=True), Column("y", Kind.STRING, source=("ID",))), ("id",))
    assert codes("t.csv", b"ID,id\n1,2\n", table) == (1, [])
    assert codes("t.csv", b"Id,id\n1,2\n", table) == (1, [])


def test_a_wide_header_costs_no_time_for_each_record() -> None:
    """Quadratic time would take minutes here."""
    data = b"id," + b",".join(b"c%d" % number for number in range(9_000)) + b"\n" + b"x\n" * 2_000
    assert codes("t.csv", data) == (0, ["malformed_csv"] * 2_000)


def test_tabs_in_tsv() -> None:
    assert codes("t.tsv", b"id\tx\n1,1\t2\n") == (1, [])
    assert codes("T.TXT", b"id,x\n1,2\n") == (1, [])


def test_a_long_header_in_every_dead_letter_takes_no_memory_for_each(tmp_path: Path) -> None:
    """A block of 1 MB with a header of 60 kB is 18 GB of dead letters, if it is taken as one."""
    header = b"id,x," + b"y" * 60_000 + b"\n"
    data = header + b"x\n" * 3_000
    (block,) = blocks("t.csv", data)
    refused = Decoder(TABLE, lambda: date(2024, 6, 15)).decode(block).refusals
    assert len(refused) == 3_000
    groups = list(file_groups(refused))
    assert sum(map(len, groups)) == 3_000
    assert all(sum(len(header) for _ in group) < 2 * DEAD_LETTER_FILE_BYTES for group in groups)
    written = dead_letters(TABLE, "t.csv", groups[0], RUN, datetime.now(UTC))
    assert {json.loads(text)["header"] for text in written["attributes"].to_pylist()} == {header.decode().strip()}


@pytest.mark.parametrize("compression", COMPRESS)
def test_members_of_one_record_are_blocks_of_many(compression: str) -> None:
    """Log shippers append a member for each batch; a block for each would take a minute here."""
    count = 20_000
    data = b"".join(map(COMPRESS[compression], [b'{"id":"%d"}\n' % number for number in range(100)] * (count // 100)))
    result = blocks(f"t.ndjson.{compression}", data)
    assert sum(len(block.records) for block in result) == count
    assert len(result) <= 3


@pytest.mark.parametrize("compression", ["", *COMPRESS])
def test_an_array_that_is_cut_off_between_two_elements_is_said(compression: str) -> None:
    data = b"[" + b",".join(ROWS) + b"]"
    name, compress = (f"t.json.{compression}", COMPRESS[compression]) if compression else ("t.json", bytes)
    assert refusals(blocks(name, compress(data))) == []
    for end in (1, data.index(b"},") + 1, data.index(b"},") + 2, len(data) - 1):
        (letter,) = refusals(blocks(name, compress(data[:end])))
        assert (letter.code.value, letter.position, letter.attributes["format"]) == ("malformed_json", end, "file")
    assert codes(name, compress(data[:-2])) == (399, ["malformed_json"])  # within an element: that one


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("zeros", [1, 511, 200_000])
def test_zeros_behind_a_member_are_padding(compression: str, zeros: int) -> None:
    member = COMPRESS[compression](NDJSON)
    name, whole = f"t.ndjson.{compression}", records(blocks("t.ndjson", NDJSON + NDJSON))
    padded = blocks(name, member + b"\0" * zeros + member + b"\0" * zeros)
    assert records(padded) == whole
    assert not refusals(padded)
    (letter,) = refusals(blocks(name, b"\0" * zeros))
    assert letter.position == 0
    (letter,) = refusals(blocks(name, member + b"\0" * zeros + b"more"))
    assert letter.position == len(NDJSON)
