"""ORC files of all types and codecs, and damaged ones."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc

from connectors.files.csv_headers import file_columns
from connectors.sources.files import FileRange, InputFile, blocks_of
from contracts.table import Column, Kind
from tests.connectors.table_files import LIMIT, blocks, fates, table

NAME = "t.orc"


def stored(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    orc.write_table(table if isinstance(table, pa.Table) else pa.table(table), sink, **options)
    return sink.getvalue()


X = {kind: Column("x", kind) for kind in Kind}
MOMENT = datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)
NAIVE = MOMENT.replace(tzinfo=None)
NANOS = 1_714_564_800_123_456_789
TYPES: list[tuple[str, Any, Column, Any]] = [
    ("boolean", pa.array([True]), X[Kind.BOOLEAN], True),
    ("tinyint", pa.array([-128], pa.int8()), X[Kind.INTEGER], -128),
    ("bigint", pa.array([2**63 - 1]), X[Kind.INTEGER], 2**63 - 1),
    ("float", pa.array([1.5], pa.float32()), X[Kind.FLOAT], 1.5),
    ("double", pa.array([0.1]), X[Kind.FLOAT], 0.1),
    ("string", pa.array(["é"]), X[Kind.STRING], "é"),
    ("null", pa.array([None], pa.string()), X[Kind.STRING], None),
    ("binary", pa.array([b"\x00\xff"]), X[Kind.BYTES], b"\x00\xff"),
    ("date", pa.array([date(1582, 10, 10)]), X[Kind.DATE], date(1582, 10, 10)),
    ("decimal", pa.array([Decimal("-0.05")], pa.decimal128(38, 2)), X[Kind.NUMERIC], Decimal("-0.05")),
    ("timestamp", pa.array([NANOS], pa.timestamp("ns")), X[Kind.DATETIME], NAIVE),
    ("timestamp in the contract's zone", pa.array([NANOS], pa.timestamp("ns")), X[Kind.TIMESTAMP], MOMENT),
    ("instant", pa.array([NANOS], pa.timestamp("ns", "UTC")), X[Kind.TIMESTAMP], MOMENT),
    (
        "before 1970",
        pa.array([-1_000], pa.timestamp("us")),
        X[Kind.DATETIME],
        datetime(1969, 12, 31, 23, 59, 59, 999000),
    ),
]


@pytest.mark.parametrize(("array", "column", "expected"), [pytest.param(*rest, id=name) for name, *rest in TYPES])
def test_a_type_is_read_as_what_it_means_also_within_others(array: Any, column: Column, expected: Any) -> None:
    struct = pa.StructArray.from_arrays([array], names=["x"])
    one = pa.array([0, 1], pa.int32())
    data = {"id": ["a"], "x": array, "s": struct, "l": pa.ListArray.from_arrays(one, struct)}
    offsets: Any = one
    data["m"] = pa.MapArray.from_arrays(offsets, pa.array(["k"]), struct)
    record = Column("s", Kind.RECORD, fields=(column,))
    pair = (Column("key", Kind.STRING), Column("value", Kind.RECORD, fields=(column,)))
    of = table(
        column,
        record,
        Column("l", Kind.RECORD, fields=(column,), repeated=True),
        Column("m", Kind.RECORD, fields=pair, repeated=True),
    )
    (row,), refusals = fates(stored(data), of, name=NAME)
    assert not refusals
    assert (row["x"], row["s"], row["l"]) == (expected, {"x": expected}, [{"x": expected}])
    assert row["m"] == [{"key": "k", "value": {"x": expected}}]


@pytest.mark.parametrize("codec", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
def test_codecs(codec: str) -> None:
    ids = [f"{at:08}" for at in range(20_000)]
    data = stored({"id": ids}, compression=codec, stripe_size=4_096)
    for name, packed in ((NAME, data), ("t.orc.gz", gzip.compress(data)), (NAME, gzip.compress(data))):
        rows, refusals = fates(packed, table(), name=name)
        assert [(row["id"], row["_position"]) for row in rows] == [(each, at) for at, each in enumerate(ids)]
        assert not refusals


def test_a_union_and_an_early_or_late_moment_cost_only_who_reads_them() -> None:
    union = pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["x"])]
    )
    late = pa.array([0, 253_402_300_799_999_999], pa.timestamp("us"))
    data = stored({"id": ["a", "b"], "x": union, "late": late})
    rows, refusals = fates(data, table(), name=NAME)
    assert ([row["id"] for row in rows], refusals) == (["a", "b"], [])
    _, (refusal,) = fates(data, table(X[Kind.STRING]), name=NAME)
    assert "column x is a union" in refusal.message
    _, (refusal,) = fates(data, table(Column("late", Kind.TIMESTAMP)), name=NAME)
    assert (refusal.position, refusal.code.value) == (0, "invalid_encoding")
    assert "out of range for nanosecond resolution" in refusal.message


def test_names_of_columns_with_dots_and_twice() -> None:
    (row,), _ = fates(stored({"id": ["a"], "id.x": ["z"]}), table(), name=NAME)
    assert row["id"] == "a"
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["id", "ID"])
    _, (refusal,) = fates(stored(twice), table(), name=NAME)
    assert "several columns id" in refusal.message
    of = table(X[Kind.STRING])
    data = stored({"ID": ["a"], "s": [{"y": 1}]})
    (columns,) = [file_columns(InputFile("t", NAME, len(data), 0), block, of) for block in blocks(data, of, NAME)]
    assert columns
    assert (columns.missing, columns.names) == (("x",), ("ID", "s.y"))


def test_rows_before_the_damage_are_read() -> None:
    ids = [f"{at * 7919 % 1_000_003:08}" for at in range(200_000)]
    data = bytearray(stored({"id": ids}, compression="zstd", stripe_size=65_536))
    assert orc.ORCFile(io.BytesIO(bytes(data))).nstripes > 2
    data[len(data) // 2 : len(data) // 2 + 2_000] = bytes(2_000)
    rows, (refusal,) = fates(bytes(data), table(), name=NAME)
    assert 2 * 33_792 <= len(rows) <= 97 * 1_024, "two stripes are whole, and a part of the third"
    assert [row["id"] for row in rows] == ids[: len(rows)]
    assert (refusal.position, refusal.code.value) == (len(rows), "invalid_encoding")


@pytest.mark.parametrize("data", [b"", b"ORC", b"PAR1" * 100, stored({"id": ["a"]})[:-1]])
def test_what_is_no_orc_is_one_dead_letter(data: bytes) -> None:
    rows, (refusal,) = fates(data, table(), name=NAME)
    assert (rows, refusal.code.value) == ([], "invalid_encoding")


class Broken(io.BytesIO):
    """A stream whose service does not answer any more."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise ConnectionResetError("the service is gone")


@pytest.mark.parametrize("name", [NAME, "t.avro", "t.avro.gz"])
def test_a_source_that_fails_is_no_fault_of_the_file(name: str) -> None:
    part = FileRange(InputFile("t", name, 100, 0))
    with pytest.raises(ConnectionResetError, match="the service is gone"):
        list(blocks_of(Broken(stored({"id": ["a"]})), part, table(), LIMIT))
