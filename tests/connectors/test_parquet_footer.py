"""What is read of a Parquet file's footer, and files whose footers contradict their data or themselves."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.names import InputFile
from connectors.files.parquet_footer import DELTA, DELTA_TEXT, column_chunks
from connectors.sources.files import FileRange, blocks_of
from contracts.table import Column, Kind, Table, UnknownFields

TABLE = Table("t", (Column("id", Kind.STRING, required=True),), ("id",), unknown_fields=UnknownFields.KEEP)
ROWS = pa.table(
    {
        "id": [str(number) for number in range(200)],
        "x": list(range(200)),
        "list": [[{"a": "b", "c": None}] * (number % 3) for number in range(200)],
        "struct": [{"a": "b"}] * 200,
    }
)
NAMES = {
    "PLAIN": 0,
    "PLAIN_DICTIONARY": 2,
    "RLE": 3,
    "BIT_PACKED": 4,
    "DELTA_BINARY_PACKED": 5,
    "DELTA_LENGTH_BYTE_ARRAY": 6,
    "DELTA_BYTE_ARRAY": 7,
    "RLE_DICTIONARY": 8,
    "BYTE_STREAM_SPLIT": 9,
}


def stored(**options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(ROWS, sink, **options)
    return sink.getvalue()


def fates(data: bytes) -> tuple[int, list[str]]:
    """How many rows a file gives, and why it is refused."""
    file = FileRange(InputFile("t", "t.parquet", len(data), 0))
    found = list(blocks_of(io.BytesIO(data), file, TABLE, 1_000_000))
    return sum(len(block.records) for block in found), [each.message for block in found for each in block.refusals]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 7, "compression": "none"},
        {"use_dictionary": False, "version": "1.0"},
        {"use_dictionary": False, "column_encoding": {"id": "DELTA_BYTE_ARRAY", "x": "DELTA_BINARY_PACKED"}},
        {"use_dictionary": ["id"], "write_statistics": False, "store_schema": False, "write_page_index": True},
    ],
)
def test_it_says_what_pyarrow_says(options: dict[str, Any]) -> None:
    data = stored(**options)
    metadata: Any = pq.ParquetFile(io.BytesIO(data)).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert column_chunks(io.BytesIO(data)) == [
        [
            (frozenset(NAMES[name] for name in column.encodings), column.total_uncompressed_size)
            for column in (group.column(number) for number in range(metadata.num_columns))
        ]
        for group in groups
    ]
    assert {number for name, number in NAMES.items() if name.startswith("DELTA")} == DELTA
    assert NAMES["DELTA_BYTE_ARRAY"] == DELTA_TEXT


def test_a_footer_that_contradicts_itself_does_not_end_the_process() -> None:
    """Its levels are counted as those of a column that has others: pyarrow ends the process for that."""
    data, levels = (
        stored(),
        b"\x19\x06\x19\x36",
    )  # of SizeStatistics field 2, an empty list, and 3, one of three integers
    assert data.count(levels) == 1
    rows, why = fates(data.replace(levels, b"\x09\x84\x00\x36"))  # field 2 alone, with three integers
    assert rows == 0
    assert "level histogram size mismatch" in why[0]


@pytest.mark.parametrize("size", [200, 60])
def test_a_footer_with_too_few_rows_is_no_shorter_file(size: int) -> None:
    data = stored(row_group_size=size)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    said = 0
    for rows in {200, size, 200 % size} - {0}:
        number = bytes([rows * 2 & 127 | 128, rows * 2 >> 7]) if rows > 63 else bytes([rows * 2])
        at = footer
        while (at := data.find(b"\x16" + number, at + 1)) > 0:  # every field of 64 bits that holds the number of rows
            fewer = bytes([data[at + 1] - 2])
            found, why = fates(data[: at + 1] + fewer + data[at + 2 :])
            assert found == 200 or len(why) == 1
            said += len(why)
    assert said >= 2


ENDLESS = {
    "structs": b"\x1c" * 20_000,
    "doubles": b"\x19\xf7" + b"\xff" * 8 + b"\x7f",
    "integer": b"\x16" + b"\xff" * 10**6,
}


@pytest.mark.parametrize("footer", ENDLESS.values(), ids=ENDLESS)
def test_a_damaged_footer_is_said_at_once(footer: bytes) -> None:
    with pytest.raises(ValueError, match="its footer is damaged"):
        column_chunks(io.BytesIO(footer + len(footer).to_bytes(4, "little") + b"PAR1"))


def test_no_byte_of_a_footer_makes_it_raise_anything_else() -> None:
    data = stored()
    size, damaged = int.from_bytes(data[-8:-4], "little"), 0
    for at in range(len(data) - 8 - size, len(data) - 8):
        with suppress(ValueError):
            column_chunks(io.BytesIO(data[:at] + b"\xff" + data[at + 1 :]))
            damaged -= 1
        damaged += 1
    assert 0 < damaged < size
