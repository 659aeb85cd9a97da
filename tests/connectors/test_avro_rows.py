"""Avro files of all types and codecs, written by another library, and damaged ones."""

from __future__ import annotations

import gzip
import io
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files import avro_container
from connectors.files.avro_batches import avro_batches
from connectors.files.avro_container import MAGIC, AvroBlock, avro_blocks, avro_header, container, number
from connectors.files.csv_headers import file_columns
from connectors.sources.files import FileRange, InputFile, blocks_of
from contracts.table import Column, Kind, Table, UnknownFields
from tests.connectors.table_files import LIMIT, blocks, fates, table

NAME = "t.avro"
Schema = Any


def field(name: str, schema: Schema) -> dict[str, Schema]:
    return {"name": name, "type": schema}


def record(*fields: dict[str, Schema], name: str = "row") -> dict[str, Schema]:
    return {"type": "record", "name": name, "fields": list(fields)}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


ID = field("id", "string")


def stored(schema: Schema, rows: list[dict[str, Any]], codec: str = "null", sync_interval: int = 16_000) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, schema, rows, codec=codec, sync_interval=sync_interval)
    return sink.getvalue()


def values_of(schema: Schema, value: Any, column: Column) -> Any:
    """What a column holds of one value of a type; the other row of the file is there, too."""
    data = stored(record(ID, field("x", schema)), [{"id": "a", "x": value}])
    (row,), refusals = fates(data, table(column), name=NAME)
    assert not refusals
    return row["x"]


X = {kind: Column("x", kind) for kind in Kind}
MOMENT = datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)
NAIVE = MOMENT.replace(tzinfo=None)
NANOS = 1_714_564_800_123_456_789
FIXED = {"type": "fixed", "name": "f"}
NAMED = UUID("12345678-1234-5678-1234-567812345678")
TYPES: list[tuple[str, Schema, Any, Column, Any]] = [
    ("boolean", "boolean", True, X[Kind.BOOLEAN], True),
    ("int", "int", -(2**31), X[Kind.INTEGER], -(2**31)),
    ("long", {"type": "long"}, 2**63 - 1, X[Kind.INTEGER], 2**63 - 1),
    ("float", "float", 1.5, X[Kind.FLOAT], 1.5),
    ("double", ["null", "double"], 0.1, X[Kind.FLOAT], 0.1),
    ("null behind", ["string", "null"], None, X[Kind.STRING], None),
    ("only null", "null", None, X[Kind.STRING], None),
    ("a union of null", ["null"], None, X[Kind.STRING], None),
    ("a union of one type", ["string"], "a", X[Kind.STRING], "a"),
    ("string", ["null", "string"], "é\x00", X[Kind.STRING], "é\x00"),
    ("bytes", "bytes", b"\x00\xff", X[Kind.BYTES], b"\x00\xff"),
    ("fixed", {**FIXED, "size": 3}, b"\x00\xffa", X[Kind.BYTES], b"\x00\xffa"),
    ("enum", {"type": "enum", "name": "e", "symbols": ["A", "B"]}, "B", X[Kind.STRING], "B"),
    ("date", logical("int", "date"), date(1582, 10, 10), X[Kind.DATE], date(1582, 10, 10)),
    ("time-millis", logical("int", "time-millis"), time(12, 30, 0, 1000), X[Kind.TIME], "12:30:00.001000"),
    ("time-micros", logical("long", "time-micros"), time(12, 30, 0, 1), X[Kind.TIME], "12:30:00.000001"),
    ("millis", logical("long", "timestamp-millis"), MOMENT, X[Kind.TIMESTAMP], MOMENT.replace(microsecond=123000)),
    ("micros", logical("long", "timestamp-micros"), MOMENT, X[Kind.TIMESTAMP], MOMENT),
    ("nanos", logical("long", "timestamp-nanos"), NANOS, X[Kind.TIMESTAMP], MOMENT),
    ("local", logical("long", "local-timestamp-micros"), NAIVE, X[Kind.DATETIME], NAIVE),
    ("local nanos", logical("long", "local-timestamp-nanos"), NANOS, X[Kind.DATETIME], NAIVE),
    ("no logical type of int", logical("int", "timestamp-micros"), 5, X[Kind.INTEGER], 5),
    ("unknown logical type", logical("long", "weeks"), 5, X[Kind.INTEGER], 5),
    (
        "decimal",
        logical("bytes", "decimal", precision=40, scale=5),
        Decimal("-12345678901234567890123456789.12345"),
        X[Kind.BIGNUMERIC],
        "-12345678901234567890123456789.12345" + "0" * 33,
    ),
    (
        "fixed decimal",
        ["null", {**FIXED, "size": 8, "logicalType": "decimal", "precision": 10, "scale": 2}],
        Decimal("-0.05"),
        X[Kind.NUMERIC],
        Decimal("-0.05"),
    ),
    ("uuid", logical("string", "uuid"), NAMED, X[Kind.STRING], str(NAMED)),
    ("fixed uuid", {**FIXED, "size": 16, "logicalType": "uuid"}, NAMED.bytes, X[Kind.STRING], str(NAMED)),
    (
        "duration",
        {**FIXED, "size": 12, "logicalType": "duration"},
        b"\x01\0\0\0\x02\0\0\0\xb9\x0b\0\0",
        X[Kind.STRING],
        "P1M2DT3.001S",
    ),
]


@pytest.mark.parametrize(("schema", "value", "column", "expected"), [pytest.param(*t, id=n) for n, *t in TYPES])
def test_a_type_is_read_as_what_it_means(schema: Schema, value: Any, column: Column, expected: Any) -> None:
    assert values_of(schema, value, column) == expected


@pytest.mark.parametrize(("schema", "value", "column", "expected"), [pytest.param(*t, id=n) for n, *t in TYPES])
def test_so_it_is_within_records_arrays_and_maps(schema: Schema, value: Any, column: Column, expected: Any) -> None:
    nested = record(field("x", schema), field("y", "int"), name="nested")
    rows = record(ID, field("r", ["null", nested]), field("a", {"type": "array", "items": ["null", "nested"]}))
    rows["fields"].append(field("m", {"type": "map", "values": nested["name"]}))
    one = {"x": value, "y": 1}
    both = [{"id": "a", "r": one, "a": [one, one], "m": {"k": one}}, {"id": "b", "r": None, "a": [], "m": {}}]
    inner = (column, Column("y", Kind.INTEGER))
    pair = (Column("key", Kind.STRING), Column("value", Kind.RECORD, fields=inner))
    of = table(
        Column("r", Kind.RECORD, fields=inner),
        Column("a", Kind.RECORD, fields=inner, repeated=True),
        Column("m", Kind.RECORD, fields=pair, repeated=True),
    )
    (first, second), refusals = fates(stored(rows, both), of, name=NAME)
    assert not refusals
    assert first["r"] == first["m"][0]["value"] == {"x": expected, "y": 1}
    assert first["a"] == [{"x": expected, "y": 1}] * 2
    assert (second["r"], second["a"], second["m"]) == (None, [], [])


REFUSED: list[tuple[str, Schema, str]] = [
    ("union", ["null", "long", "string"], "field x: a union of null and long and string is not read"),
    ("nested union", {"type": "array", "items": ["int", "long"]}, "field x: a union of int and long is not read"),
    ("recursive", ["null", "row"], "field x: type 'row' contains itself"),
    ("nulls", {"type": "array", "items": "null"}, "field x: an array of elements without bytes"),
    ("empty records", {"type": "array", "items": record(name="e")}, "field x: an array of elements without bytes"),
    ("unknown", "widget", "field x: type 'widget' is unknown"),
]


@pytest.mark.parametrize(("schema", "message"), [pytest.param(*rest, id=name) for name, *rest in REFUSED])
def test_a_type_that_is_not_read_refuses_the_file_by_name(schema: Schema, message: str) -> None:
    data = container(record(ID, field("x", schema)), [AvroBlock(1, number(1) + b"a" + number(0))])
    rows, (refusal,) = fates(data, table(), name=NAME)
    assert not rows
    assert refusal.code.value == "invalid_encoding"
    assert message in refusal.message


def test_a_schema_that_stands_for_billions_of_fields_is_refused() -> None:
    inner: Schema = record(field("a", "int"), name="r0")
    for depth in range(1, 30):
        inner = record(field("a", inner), field("b", f"r{depth - 1}"), name=f"r{depth}")
    _, (refusal,) = fates(container(record(ID, field("x", inner)), []), table(), name=NAME)
    assert "more than 10000 types" in refusal.message


@pytest.mark.parametrize("codec", ["null", "deflate", "zstandard", "bzip2", "xz"])
def test_codecs(codec: str) -> None:
    rows = [{"id": str(at)} for at in range(20_000)]
    read, refusals = fates(stored(record(ID), rows, codec), table(), name=NAME)
    assert read == [{**row, **read[at]} for at, row in enumerate(rows)]
    assert not refusals


def coded(codec: str, data: bytes) -> bytes:
    head = container(record(ID), [])
    head = head[: head.index(number(0) + bytes(16))].replace(MAGIC + number(1), MAGIC + number(2))
    codecs = number(len(b"avro.codec")) + b"avro.codec" + number(len(codec)) + codec.encode() + number(0) + bytes(16)
    return head + codecs + number(1) + number(len(data)) + data + bytes(16)


def snappy(plain: bytes) -> bytes:
    packed: bytes = pa.Codec("snappy").compress(plain, asbytes=True)
    return packed + zlib.crc32(plain).to_bytes(4, "big")


def test_snappy_and_a_codec_that_is_not_read() -> None:
    packed = snappy(number(1) + b"a")
    (row,), refusals = fates(coded("snappy", packed), table(), name=NAME)
    assert (row["id"], refusals) == ("a", [])
    _, (refusal,) = fates(coded("snappy", packed[:-1] + b"x"), table(), name=NAME)
    assert "CRC32" in refusal.message
    _, (refusal,) = fates(coded("lz4", packed), table(), name=NAME)
    assert "its codec is 'lz4'" in refusal.message


@pytest.mark.parametrize("codec", ["snappy", "deflate", "zstandard"])
def test_a_block_that_becomes_too_large_is_refused(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_container, "MAX_BLOCK_BYTES", 1_000)
    data = stored(record(ID), [{"id": "x" * 5_000}], codec) if codec != "snappy" else coded(codec, snappy(bytes(5_000)))
    _, (refusal,) = fates(data, table(), name=NAME)
    assert "more than 1000 bytes" in refusal.message


def test_columns_that_are_not_in_the_contract() -> None:
    other = {"type": "enum", "name": "e", "symbols": ["A"]}
    data = stored(record(ID, field("other", other), field("x", "int")), [{"id": "a", "other": "A", "x": 1}])
    of = table(X[Kind.INTEGER])
    (row,), _ = fates(data, of, name=NAME)
    assert row["x"] == 1
    (row,), _ = fates(data, table(unknown=UnknownFields.KEEP), name=NAME)
    assert row["_extra"] == '{"other": "A", "x": 1}'
    _, (refusal,) = fates(data, table(unknown=UnknownFields.REJECT), name=NAME)
    assert refusal.code.value == "unknown_field"


def test_what_a_file_lacks_is_taken_from_its_schema() -> None:
    user = record(field("Name", "string"), field("nothing", "null"), name="u")
    data = stored(
        record(ID, field("user", user), field("pairs", {"type": "map", "values": "int"})),
        [{"id": "a", "user": {"Name": "n", "nothing": None}, "pairs": {}}],
    )
    of = table(Column("user", Kind.RECORD, fields=(Column("name", Kind.STRING),)), X[Kind.STRING])
    (columns,) = [file_columns(InputFile("t", NAME, len(data), 0), block, of) for block in blocks(data, of, NAME)]
    assert columns
    assert columns.missing == ("user.name", "x")
    assert columns.names == ("id", "user.Name", "user.nothing", "pairs.key", "pairs.value")


def test_a_text_that_is_not_utf_8_costs_its_row() -> None:
    rows = AvroBlock(2, number(1) + b"\xff" + number(1) + b"b")
    read, (refusal,) = fates(container(record(ID), [rows]), table(), name=NAME)
    assert [row["id"] for row in read] == ["b"]
    assert (refusal.position, refusal.code.value, refusal.raw) == (0, "invalid_encoding", b'{"id":"\xff"}')


def test_an_enum_or_decimal_that_is_none() -> None:
    enum = record(ID, field("x", {"type": "enum", "name": "e", "symbols": ["A"]}))
    block = AvroBlock(1, number(1) + b"a" + number(7))
    _, (refusal,) = fates(container(enum, [block]), table(X[Kind.STRING]), name=NAME)
    assert refusal.code.value == "invalid_encoding"
    decimal = record(ID, field("x", logical("bytes", "decimal", precision=4, scale=2)))
    empty = AvroBlock(2, number(1) + b"a" + number(0) + number(1) + b"b" + number(1) + b"\x01")
    (row,), (refusal,) = fates(container(decimal, [empty]), table(X[Kind.NUMERIC]), name=NAME)
    assert (row["id"], row["x"], refusal.position, refusal.code.value) == ("b", Decimal("0.01"), 0, "wrong_type")


def test_arrays_in_blocks_that_state_their_size() -> None:
    """As Java writes long arrays: a negative count, and the bytes of the block behind it."""
    items = number(-2) + number(2) + number(3) + number(4) + number(1) + number(5) + number(0)
    data = container(
        record(ID, field("x", {"type": "array", "items": "int"})), [AvroBlock(1, number(1) + b"a" + items)]
    )
    (row,), _ = fates(data, table(Column("x", Kind.INTEGER, repeated=True)), name=NAME)
    assert row["x"] == [3, 4, 5]


def test_rows_before_the_damage_are_read() -> None:
    ids = [f"{at:08}" for at in range(10_000)]
    data = stored(record(ID), [{"id": each} for each in ids])
    for cut in (len(data) - 1, len(data) // 2, 200):
        rows, (refusal,) = fates(data[:cut], table(), name=NAME)
        assert [row["id"] for row in rows] == ids[: len(rows)]
        assert (refusal.position, refusal.code.value) == (len(rows), "invalid_encoding")
    header = avro_header(io.BytesIO(data))
    third = [block.records for block in avro_blocks(_behind_the_header(data), header)][:3]
    at = data.index(ids[sum(third)].encode()) - 1  # the length of the first text of the fourth block
    rows, (refusal,) = fates(data[:at] + number(-5) + data[at + 1 :], table(), name=NAME)
    assert [row["id"] for row in rows] == ids[: sum(third)]
    assert refusal.position == sum(third)


def _behind_the_header(data: bytes) -> io.BytesIO:
    stream = io.BytesIO(data)
    avro_header(stream)
    return stream


def test_what_is_no_avro_and_what_is_compressed_as_a_whole() -> None:
    for data in (b"", b"Obj", b"PAR1" * 10, MAGIC, MAGIC + number(1) + number(1 << 40)):
        _, (refusal,) = fates(data, table(), name=NAME)
        assert refusal.code.value == "invalid_encoding"
    packed = gzip.compress(stored(record(ID), [{"id": "a"}]))
    for name in ("t.avro.gz", "t.avro"):
        (row,), _ = fates(packed, table(), name=name)
        assert row["id"] == "a"
    _, (refusal,) = fates(gzip.compress(b"PAR1" * 10), table(), name="t.avro.gz")
    assert "not Avro" in refusal.message


def test_a_block_that_claims_records_without_bytes_is_refused() -> None:
    data = container(record(ID), [AvroBlock(1 << 40, b"")])
    _, (refusal,) = fates(data, table(), name=NAME)
    assert "has 1099511627776 records" in refusal.message


def test_a_row_over_the_limit_is_refused_alone() -> None:
    data = stored(record(ID), [{"id": "x" * 2_000}, {"id": "b"}])
    (row,), (refusal,) = fates(data, table(), 1_000, NAME)
    assert (row["id"], refusal.code.value) == ("b", "record_too_large")


PLAIN = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
PAIRS = st.dictionaries(st.text(max_size=2), PLAIN, max_size=2)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(max_size=3),
            "n": PLAIN,
            "x": st.floats(allow_nan=False, allow_infinity=False),
            "b": st.one_of(st.none(), st.binary(max_size=3)),
            "l": st.lists(st.one_of(st.none(), st.lists(PLAIN, max_size=2)), max_size=3),
            "r": st.one_of(st.none(), st.fixed_dictionaries({"n": PLAIN, "m": PAIRS})),
        }
    ),
    max_size=20,
)
LONG = ["null", "long"]
INNER = record(field("n", LONG), field("m", {"type": "map", "values": LONG}), name="inner")
MANY = record(
    ID,
    field("n", LONG),
    field("x", "double"),
    field("b", ["bytes", "null"]),
    field("l", {"type": "array", "items": ["null", {"type": "array", "items": LONG}]}),
    field("r", ["null", INNER]),
)


@given(ROWS)
def test_the_records_are_those_that_fastavro_reads(rows: list[dict[str, Any]]) -> None:
    """Another decoder of the same bytes: what polars makes of them is what they mean."""
    data = stored(MANY, rows, sync_interval=200)
    read = [row for batch, _ in avro_batches(io.BytesIO(data), None) for row in batch.to_pylist()]
    for row in rows:
        if row["r"]:
            row["r"]["m"] = [{"key": key, "value": value} for key, value in row["r"]["m"].items()]
    assert read == rows


def test_the_unknown_table_reads_all_columns() -> None:
    data = stored(record(ID, field("x", "int")), [{"id": "a", "x": 1}])
    part = FileRange(InputFile("", NAME, len(data), 0))
    none: Table | None = None
    assert [block.records for block in blocks_of(io.BytesIO(data), part, none, LIMIT)] == [[b'{"id":"a","x":1}']]
