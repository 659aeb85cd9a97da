"""Files to blocks: which files are a table's, every record at its position, and what a damaged file still gives."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files import FileRange, InputFile, belonging, blocks_of, ranges
from connectors.storage import Storage, StoredFile
from contracts.decode import Block, Decoder
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table

TABLE = Table("t", (Column("id", Kind.STRING, required=True), Column("x", Kind.INTEGER)), ("id",))
LIMIT = 1_000_000


def blocks(name: str, data: bytes, limit: int = LIMIT) -> list[Block]:
    part = FileRange(InputFile("t", name, len(data), 0))
    return list(blocks_of(io.BytesIO(data), part, TABLE, limit))


def records(found: list[Block]) -> list[tuple[int, bytes]]:
    return [(int(at), raw) for block in found for at, raw in zip(block.positions, block.records, strict=True)]


def refusals(found: list[Block]) -> list[Refusal]:
    return [refusal for block in found for refusal in block.refusals]


def codes(name: str, data: bytes, table: Table = TABLE) -> tuple[int, list[str]]:
    """Clean rows, and the codes of what was refused."""
    decoder = Decoder(table, lambda: date(2024, 6, 15))
    decoded = [decoder.decode(block) for block in blocks(name, data)]
    return sum(len(each.rows) for each in decoded), [r.code.value for each in decoded for r in each.refusals]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("orders.csv", "orders"),
        ("orders_1.csv", "orders"),
        ("orders_001.ndjson.gz", "orders"),
        ("orders_items.csv", "orders_items"),
        ("orders_items_2.jsonl.zst", "orders_items"),
        ("orders_2024.json", "orders_2024"),
        ("orders_2024_1.json", "orders_2024"),
        ("orders/2024/part-0.parquet", "orders"),
        ("orders/orders_items.csv", "orders"),
        ("orders_extra.csv", None),
        ("orders_1a.csv", None),
        ("orders.txt", None),
        ("orders.csv.bz2", None),
        ("orders", None),
        ("other/orders.csv", None),
        ("orders/_SUCCESS", None),
    ],
)
def test_a_file_belongs_to_the_longest_table_name_that_fits(name: str, table: str | None) -> None:
    stored = StoredFile(f"gs://b/raw/{name}", 1, 2)
    found, others = belonging([stored], "gs://b/raw/", ["orders", "orders_items", "orders_2024"])
    assert [(file.table, file.uri) for file in found] == ([(table, stored.uri)] if table else [])
    assert others == ([] if table else [stored.uri])


LINES = st.lists(st.sampled_from([b'{"id":"1"}', b"", b" ", b"x" * 40, b'{"id":"2"}\r']), max_size=30)


@given(LINES, st.booleans(), st.integers(4, 60), st.booleans())
@settings(deadline=None)
def test_ranges_give_exactly_the_records_of_one_reading(lines: list[bytes], final: bool, size: int, bom: bool) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + b"\n".join(lines) + (b"\n" if final else b"")
    file = InputFile("t", "t.ndjson", len(data), 0)
    starts = range(0, len(data), size)
    parts = [FileRange(file, start, min(start + size, len(data))) for start in starts]
    found = [block for part in parts for block in blocks_of(io.BytesIO(data), part, TABLE, 20)]
    whole = blocks("t.ndjson", data, limit=20)
    assert records(found) == records(whole)
    assert [(r.position, r.raw, r.size) for r in refusals(found)] == [
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
        found = blocks(f"t.ndjson.{compression}", data[:cut])
        (letter,) = refusals(found)
        assert letter.code.value == "invalid_encoding"
        assert letter.raw == data[:cut]
        assert letter.attributes["format"] == "file"
        got = records(found)
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
        found = blocks(f"t.ndjson.{compression}", broken)
        assert records(found)[: len(before)] == before
        assert share < 0.1 or len(before) > 20_000
        assert [letter.code.value for letter in refusals(found)][-1:] == ["invalid_encoding"]


def test_a_wrong_checksum_in_gzip_keeps_every_record() -> None:
    data = bytearray(gzip.compress(NDJSON))
    data[-6] ^= 0xFF
    found = blocks("t.ndjson.gz", bytes(data))
    assert records(found) == records(blocks("t.ndjson.gz", gzip.compress(NDJSON)))
    assert [letter.code.value for letter in refusals(found)] == ["invalid_encoding"]


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
        found = blocks(name, data)
        (letter,) = refusals(found)
        assert (letter.code.value, letter.size, len(letter.raw)) == ("record_too_large", size, 8_000_000)
        assert len(records(found)) == 1


def parquet_of(**columns: pa.Array[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


MOMENT = datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=UTC)


def typed() -> Iterator[tuple[str, pa.Array[Any], object]]:
    naive = MOMENT.replace(tzinfo=None)
    yield "decimal", pa.array([Decimal("12.500")], pa.decimal128(10, 3)), "12.500"
    yield "us", pa.array([naive], pa.timestamp("us")), "2024-02-29T12:00:00.000005Z"
    yield "tz", pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin")), "2024-02-29T12:00:00.000005Z"
    yield "ns", pa.array([naive], pa.timestamp("ns")), "2024-02-29T12:00:00.000005Z"
    yield "day", pa.array([date(2024, 2, 29)]), "2024-02-29"
    yield "list", pa.array([[1, None]]), [1, None]
    yield "struct", pa.array([{"a": 1, "b": "c"}]), {"a": 1, "b": "c"}
    yield "nan", pa.array([float("nan")]), "nan"
    yield "inf", pa.array([float("-inf")]), "-inf"
    yield "text", pa.array([b"text"], pa.binary()), "text"
    yield "bytes", pa.array([b"\xff\x00"], pa.binary()), "/wA="
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
