"""Parquet files of all kinds: what cannot be a value costs its row, what is not read costs nothing."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files import table_rows
from connectors.files.arrow_values import json_sizes, json_values
from connectors.files.csv_headers import file_columns
from connectors.sources.files import FileRange, InputFile, blocks_of
from contracts.decoding.decoder import Decoder
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table, UnknownFields
from tests.connectors.table_files import LIMIT, TODAY, blocks, fates, table

HUGE = 2**62


def stored(name: str = "t.parquet", /, **columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return gzip.compress(sink.getvalue()) if name.endswith(".gz") else sink.getvalue()


def invalid(kind: pa.DataType) -> Any:
    """An array of text that is not UTF-8, as careless writers make it: `good`, ff fe."""
    binary = pa.array([b"good", b"\xff\xfe"], pa.large_binary() if kind == pa.large_string() else pa.binary())
    return binary.view(kind)


def awkward() -> Iterator[tuple[str, Any]]:
    """Arrays of which the first value is plain and the second one is none that Python has."""
    yield "time64 ns", pa.array([0, 1], pa.time64("ns"))
    yield "time of another day", pa.array([0, 2**40], pa.time64("us"))
    yield "duration ns", pa.array([0, 1], pa.duration("ns"))
    yield "long duration", pa.array([0, HUGE], pa.duration("s"))
    yield "list of ns", pa.array([[0], [1]], pa.list_(pa.timestamp("ns")))
    yield "struct of ns", pa.array([{"a": 0}, {"a": 1}], pa.struct([("a", pa.timestamp("ns"))]))
    yield "far future", pa.array([0, HUGE], pa.timestamp("us"))
    yield "far past", pa.array([0, -HUGE], pa.timestamp("us"))
    yield "far future ms", pa.array([0, 2**61], pa.timestamp("ms"))
    yield "far day", pa.array([0, 2**30], pa.int32()).view(pa.date32())
    yield "past day", pa.array([0, -(2**30)], pa.int32()).view(pa.date32())
    yield "year 1 in New York", pa.array([0, -62135596800000000], pa.timestamp("us", "America/New_York"))
    yield "unknown zone", pa.array([0, 1], pa.timestamp("us", "Foo/Bar"))
    yield "text", invalid(pa.string())
    yield "large text", invalid(pa.large_string())
    yield "words", pa.DictionaryArray.from_arrays(pa.array([0, 1]), invalid(pa.string()))
    yield "binary", pa.array([b"good", b"\xff\xfe"], pa.binary())
    yield "list of text", pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), invalid(pa.string()))
    yield "map", pa.array([[("k", b"v")], [("k", b"\xff")]], pa.map_(pa.string(), pa.binary()))


@pytest.mark.parametrize("array", [pytest.param(array, id=name) for name, array in awkward()])
@pytest.mark.parametrize("unknown", UnknownFields)
def test_a_column_that_is_not_read_costs_nothing(array: Any, unknown: UnknownFields) -> None:
    rows, refusals = fates(stored(id=["1", "2"], extra=array), table(unknown=unknown))
    if unknown is UnknownFields.IGNORE:
        assert [row["id"] for row in rows] == ["1", "2"]
    elif unknown is UnknownFields.REJECT:
        assert [each.field for each in refusals] in (["extra", "extra"], ["extra", None])
    assert len(rows) + len(refusals) == 2


READ: list[tuple[str, Kind, list[str]]] = [
    ("far future", Kind.TIMESTAMP, ["wrong_type"]),
    ("far future", Kind.STRING, ["wrong_type"]),
    ("far future ms", Kind.TIMESTAMP, ["wrong_type"]),
    ("far day", Kind.DATE, ["wrong_type"]),
    ("past day", Kind.STRING, ["wrong_type"]),
    ("time of another day", Kind.STRING, ["wrong_type"]),
    ("time64 ns", Kind.STRING, []),
    ("duration ns", Kind.STRING, []),
    ("year 1 in New York", Kind.TIMESTAMP, []),
    ("unknown zone", Kind.TIMESTAMP, []),
    ("text", Kind.STRING, ["invalid_encoding"]),
    ("large text", Kind.STRING, ["invalid_encoding"]),
    ("words", Kind.STRING, ["invalid_encoding"]),
    ("binary", Kind.STRING, ["invalid_encoding"]),
]


@pytest.mark.parametrize(("name", "kind", "codes"), READ)
def test_a_value_that_cannot_be_costs_its_row(name: str, kind: Kind, codes: list[str]) -> None:
    array = dict(awkward())[name]
    of = table(Column("x", kind))
    rows, refusals = fates(stored(id=["1", "2"], x=array), of)
    assert [row["id"] for row in rows] == (["1"] if codes else ["1", "2"])
    assert [each.code.value for each in refusals] == codes
    for each in refusals:  # a dead letter can be decoded again from its own row alone
        (again,) = fates_of(each.raw, of)
        assert (again.code, again.raw) == (each.code, each.raw)


def fates_of(record: bytes, of: Table) -> list[Refusal]:
    part = FileRange(InputFile("t", "t.ndjson", len(record), 0))
    return [
        each
        for block in blocks_of(io.BytesIO(record), part, of, LIMIT)
        for each in Decoder(of, lambda: TODAY).decode(block).refusals
    ]


def test_binary_into_text_is_utf_8_or_a_dead_letter_with_its_bytes() -> None:
    of = table(Column("raw", Kind.STRING))
    rows, refusals = fates(stored(id=["1", "2", "3"], raw=pa.array([b"\x00\xff", b"text", b'"\\\xc3\xa9'])), of)
    assert [(row["id"], row["raw"]) for row in rows] == [("2", "text"), ("3", '"\\é')]
    assert [(each.position, each.code.value, each.raw) for each in refusals] == [
        (0, "invalid_encoding", b'{"id":"1","raw":"\\u0000\xff"}')
    ]


def test_every_type_of_a_file_is_read_or_left_out() -> None:
    """The types of Arrow that Parquet can hold, with slices, nulls and nests."""
    nested = pa.array([[["a"], ["b", "c"]], None, []], pa.list_(pa.list_(pa.string())))
    pairs = pa.array([[("k", "v")], None, [("a", None), ("b", "w")]], pa.map_(pa.string(), pa.string()))
    fixed = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int32(), 2))
    structs = pa.array([{"a": [1]}, None, {"a": None}], pa.struct([("a", pa.list_(pa.int8()))]))
    for array in (nested, pairs, fixed, structs):
        plain = json_values(array)
        for start in range(4):
            assert json_values(array.slice(start)) == plain[start:]
    assert json_values(nested) == [[["a"], ["b", "c"]], None, []]
    expected = [[("k", "v")], None, [("a", None), ("b", "w")]]
    assert json_values(pairs) == [each and [{"key": key, "value": value} for key, value in each] for each in expected]
    assert json_values(fixed) == [[1, 2], None, [3, None]]
    assert json_values(structs) == [{"a": [1]}, None, {"a": None}]
    for kind in (pa.list_view(pa.string()), pa.large_list_view(pa.string())):
        viewed = pa.array([["a"], None, ["b", "c"], []], kind)
        for start in range(5):
            assert json_values(viewed.slice(start)) == [["a"], None, ["b", "c"], []][start:]
            assert len(json_sizes(viewed.slice(start))) == 4 - start
    texts: list[Any] = [pa.string_view(), pa.binary_view(), pa.large_string()]
    for short in (*(pa.array(["ab", None]).cast(text) for text in texts), pa.array([b"ab", None], pa.binary(2))):
        assert json_values(short) == ["ab", None]
        assert json_sizes(short).tolist() == [26, 24]
    assert json_values(pa.array(["é", None], pa.string_view())) == json_values(pa.array(["é".encode(), None]))
    assert json_values(pa.array([b"12345678" * 2], pa.binary(16)).view(pa.binary(16))) == ["12345678" * 2]


NAMES = [
    (["ID", " X "], [("1", 5)], []),
    (["Id", "x"], [("1", 5)], []),
    (["id", "id"], [], ["invalid_encoding"]),
    (["id", "ID"], [], ["invalid_encoding"]),
    (["id", "a.b"], [("1", None)], []),
    (["key", "value"], [], ["invalid_encoding"]),
]


@pytest.mark.parametrize(("names", "expected", "codes"), NAMES)
def test_names_of_columns_are_matched_without_case_and_blanks(
    names: list[str], expected: list[tuple[str, int | None]], codes: list[str]
) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array([5])], names=names), sink)
    rows, refusals = fates(sink.getvalue(), table(Column("x", Kind.INTEGER)))
    assert [(row["id"], row["x"]) for row in rows] == expected
    assert [each.code.value for each in refusals] == codes


def test_a_column_whose_name_has_a_dot_does_not_come_along_with_another() -> None:
    arrays = [pa.array(["1"]), pa.array(["other"])]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=["id", "id.x"]), sink)
    rows, _ = fates(sink.getvalue(), table())
    assert [row["id"] for row in rows] == ["1"]


def test_unknown_columns_are_kept_or_rejected() -> None:
    data = stored(id=["1"], other=[2])
    (row,), _ = fates(data, table(unknown=UnknownFields.KEEP))
    assert json.loads(row["_extra"]) == {"other": 2}
    _, (refusal,) = fates(data, table(unknown=UnknownFields.REJECT))
    assert (refusal.code.value, refusal.field) == ("unknown_field", "other")


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_are_read_however_they_are_encoded(encoding: str) -> None:
    ids = [f"id-{number}" for number in range(3000)]
    columns = {"id": ids, "tags": [[number] for number in ids]}
    names = {"id": encoding, "tags.list.element": encoding}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, use_dictionary=False, column_encoding=names)
    rows, refusals = fates(sink.getvalue(), table(Column("tags", Kind.STRING, repeated=True)))
    assert [(row["id"], row["tags"]) for row in rows] == [(number, [number]) for number in ids]
    assert not refusals


def test_some_row_groups_have_a_dictionary_and_others_none() -> None:
    """As writers do that give a dictionary up once it is large."""
    ids = [f"{number:0200d}" for number in range(20_000)]
    rows, refusals = fates(_given_up(ids), table())
    assert [row["id"] for row in rows] == ids
    assert not refusals


def _given_up(ids: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ids}), sink, dictionary_pagesize_limit=10_000, row_group_size=3_000)
    return sink.getvalue()


def memory() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def test_a_text_that_a_small_file_names_in_every_row_is_unpacked_a_piece_at_a_time() -> None:
    count = 4_000
    long = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["x" * 100_000]))
    data = stored(id=[str(number) for number in range(count)], x=long)
    assert len(data) < 100_000
    of = table(Column("x", Kind.STRING))
    part = FileRange(InputFile("t", "t.parquet", len(data), 0))
    before, seen = memory(), 0
    for block in blocks_of(io.BytesIO(data), part, of, LIMIT):
        seen += block.count
        assert sum(map(len, block.records)) < 10_000_000
    assert seen == count
    assert memory() - before < 150_000_000


def test_one_row_that_names_a_text_many_times_is_too_large() -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 100_000]))
    lists = pa.ListArray.from_arrays(pa.array([0, 20_000, 20_000], pa.int32()), texts)
    rows, refusals = fates(stored(id=["1", "2"], x=lists), table(Column("x", Kind.STRING, repeated=True)))
    assert [row["id"] for row in rows] == ["2"]
    assert [(each.position, each.code.value, each.truncated) for each in refusals] == [(0, "record_too_large", True)]


def test_what_is_compressed_as_a_whole_is_read_from_a_temporary_file() -> None:
    of = table()
    assert sum(block.count for block in blocks(stored("t.parquet.gz", id=["1", "2"]), of, "t.parquet.gz")) == 2
    zeros = gzip.compress(b"\0" * 50_000_000)
    (block,) = blocks(zeros, of, "t.parquet.gz")
    assert [(each.code.value, each.size) for each in block.refusals] == [("invalid_encoding", len(zeros))]
    assert "not Parquet" in block.refusals[0].message


def test_a_compressed_file_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "MAX_DECOMPRESSED_BYTES", 1000)
    (block,) = blocks(stored("t.parquet.gz", id=[str(number) for number in range(5000)]), table(), "t.parquet.gz")
    assert "more than 1000 bytes" in block.refusals[0].message


class Broken(io.BytesIO):
    """A stream whose service does not answer any more."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise ConnectionResetError("the service is gone")


@pytest.mark.parametrize("name", ["t.parquet", "t.parquet.gz"])
def test_a_source_that_fails_is_no_fault_of_the_file(name: str) -> None:
    part = FileRange(InputFile("t", name, 100, 0))
    with pytest.raises(ConnectionResetError, match="the service is gone"):
        list(blocks_of(Broken(stored(id=["1"])), part, table(), LIMIT))


def test_rows_before_a_damaged_row_group_are_read(tmp_path: Path) -> None:
    sink = io.BytesIO()
    ids = [str(number) for number in range(3000)]
    pq.write_table(pa.table({"id": ids}), sink, row_group_size=1000, compression="none", use_dictionary=False)
    data = bytearray(sink.getvalue())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(2).column(0)
    data[group.data_page_offset : group.data_page_offset + 30] = b"\xff" * 30
    rows, refusals = fates(bytes(data), table())
    assert [row["id"] for row in rows] == ids[:2000]
    assert [(each.position, each.code.value) for each in refusals] == [(2000, "invalid_encoding")]


def test_an_exception_that_nobody_foresaw_costs_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = table_rows.canonical_json

    def poisoned(record: dict[str, object]) -> bytes:
        if record["id"] == "1500":
            raise RecursionError("no room")
        return plain(record)

    monkeypatch.setattr(table_rows, "canonical_json", poisoned)
    rows, refusals = fates(stored(id=[str(number) for number in range(3000)]), table())
    assert [row["id"] for row in rows] == [str(number) for number in range(3000) if number != 1500]
    assert [(each.position, each.code.value) for each in refusals] == [(1500, "unprocessable")]


USER = Column("user", Kind.RECORD, fields=(Column("name", Kind.STRING), Column("age", Kind.INTEGER)))
PATH = Column("city", Kind.STRING, source=("address", "city"))


def missing(of: Table, data: bytes, name: str = "t.parquet") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that the file lacks, and the names that it has."""
    found = [file_columns(InputFile("t", name, len(data), 0), block, of) for block in blocks(data, of, name)]
    (columns,) = [each for each in found if each]
    return columns.missing, columns.names


def test_what_a_file_lacks_is_taken_from_its_schema() -> None:
    assert missing(table(), stored(id=["a"], other=[1])) == ((), ("id", "other"))
    assert missing(table(Column("x", Kind.STRING)), stored(ID=["a"], xx=[1])) == (("x",), ("ID", "xx"))
    nested = {"id": ["a"], "user": [{"Name": "n", "age": 1}], "address": [{"City": "c"}]}
    names = ("id", "user.Name", "user.age", "address.City")
    assert missing(table(USER, PATH), stored(**nested)) == (("user.name", "city"), names)
    lists = {"id": ["a"], "user": [[{"Name": "n", "age": 1}]], "address": ["{}"]}
    assert missing(table(USER, PATH), stored(**lists))[0] == ("user.name", "city")
    as_text = {"id": ["a"], "user": ['{"name": "n"}'], "Address": [{"city": None}]}
    assert missing(table(USER, PATH), stored(**as_text))[0] == ()


@pytest.mark.parametrize("name", [" Key ", "key", "KEY "])
def test_a_field_of_the_contract_may_have_outer_blanks_too(name: str) -> None:
    of = table(Column("key", Kind.STRING, source=(" Key ",)))
    for file, data in {
        "t.parquet": stored(**{"id": ["a"], name: ["k"]}),
        "t.csv": f"id,{name}\na,k\n".encode(),
    }.items():
        assert missing(of, data, file)[0] == ()
        (block,) = [each for each in blocks(data, of, file) if each.records]
        assert Decoder(of, lambda: TODAY).decode(block).rows["key"].to_list() == ["k"]


def test_a_csv_file_has_no_fields_within_a_field() -> None:
    assert missing(table(USER, PATH), b"id,user,address\na,,\n", "t.csv") == (("city",), ("id", "user", "address"))


def test_a_first_row_that_is_no_text_is_one_dead_letter() -> None:
    of, data = table(), stored(id=pa.array([b"\xff\xfe", b"b"]))
    assert missing(of, data) == ((), ("id",))
    rows, refusals = fates(data, of)
    assert [row["id"] for row in rows] == ["b"]
    assert [(each.position, each.code.value) for each in refusals] == [(0, "invalid_encoding")]


def test_a_schema_of_any_depth_is_read() -> None:
    value: Any = 1
    for _ in range(300):
        value = {"a": value}
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["a"], "deep": [value]}), sink, store_schema=False)
    data = sink.getvalue()
    assert missing(table(), data)[0] == ()
    assert pickle.loads(pickle.dumps(blocks(data, table())[0])).fields["deep"]


def test_types_of_parquet_that_a_contract_declares() -> None:
    """Bytes, maps, nanoseconds, INT96 and dates before 1582: what is in the file is what the columns hold."""
    box = pa.struct([("raw", pa.binary()), ("text", pa.binary())])
    data = pa.table(
        {
            "id": pa.array([1, 2], pa.uint64()),
            "raw": pa.array([b"\x00\xff", None], pa.binary()),
            "attrs": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
            "nanos": pa.array([1_714_564_800_123_456_789, None], pa.timestamp("ns", "UTC")),
            "naive": pa.array([datetime(1582, 10, 10, 12), None], pa.timestamp("us")),
            "box": pa.array([{"raw": b"\xff", "text": b"x"}, None], box),
            "raws": pa.array([[b"\xff"], []], pa.list_(pa.binary())),
            "clock": pa.array([time(12, 30), None], pa.time64("us")),
            "dec": pa.array([Decimal("12345678901234567890.123456789012"), None], pa.decimal256(50, 12)),
        }
    )
    pair = (Column("key", Kind.STRING), Column("value", Kind.STRING))
    of = Table(
        "t",
        (
            Column("id", Kind.INTEGER, required=True),
            Column("raw", Kind.BYTES),
            Column("attrs", Kind.RECORD, repeated=True, fields=pair),
            Column("nanos", Kind.TIMESTAMP),
            Column("naive", Kind.DATETIME),
            Column("box", Kind.RECORD, fields=(Column("raw", Kind.BYTES), Column("text", Kind.STRING))),
            Column("raws", Kind.BYTES, repeated=True),
            Column("clock", Kind.TIME),
            Column("dec", Kind.BIGNUMERIC),
        ),
        ("id",),
    )
    for int96 in (False, True):
        sink = io.BytesIO()
        pq.write_table(data, sink, use_deprecated_int96_timestamps=int96)
        (block,) = blocks(sink.getvalue(), of)
        decoded = Decoder(of, lambda: TODAY).decode(block)
        assert decoded.refusals == []
        first, second = decoded.rows.select([column.name for column in of.columns]).rows(named=True)
        assert first == {
            "id": 1,
            "raw": b"\x00\xff",
            "attrs": [{"key": "k", "value": "v"}],
            "nanos": datetime(2024, 5, 1, 12, 0, 0, 123456, UTC),
            "naive": datetime(1582, 10, 10, 12),
            "box": {"raw": b"\xff", "text": "x"},
            "raws": [b"\xff"],
            "clock": "12:30:00",
            "dec": "12345678901234567890.123456789012" + "0" * 26,
        }
        assert second == {"id": 2, **dict.fromkeys([*first][1:]), "attrs": [], "raws": []}


def test_a_file_with_an_encrypted_footer_says_so() -> None:
    data = stored(id=["1"])
    (refusal,) = [each for block in blocks(data[:-4] + b"PARE", table()) for each in block.refusals]
    assert refusal.message == "the file cannot be read: it is encrypted; write it without encryption"
