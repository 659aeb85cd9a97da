"""Parquet, ORC and Avro files whose columns have types and values that nobody expects."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from tests.fuzz.cases import Row, json_text, tables
from tests.fuzz.mutation import mutated

__all__ = ["avro_file", "orc_file", "parquet_file"]


def parquet_file(rows: list[Row], name: str, chance: np.random.Generator) -> bytes:
    """A Parquet file of these rows, some columns of it of types and values that nobody expects."""
    columns = {field: _column(texts, chance) for field, texts in _texts(rows, name).items()}
    if chance.integers(0, 2):
        columns["other"] = _column([None] * len(rows), chance)
    sink = io.BytesIO()
    groups = int(chance.choice([100, 700, 100_000]))
    encodings: dict[str, Any] = {}
    if not chance.integers(0, 3):
        delta = str(chance.choice(["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]))
        names = [name for name, column in columns.items() if pa.types.is_string(column.type)]
        encodings = {"use_dictionary": False, "column_encoding": dict.fromkeys(names, delta)}
    pq.write_table(
        pa.table(columns),
        sink,
        row_group_size=groups,
        compression=str(chance.choice(["zstd", "none"])),
        data_page_version=str(chance.choice(["1.0", "2.0"])),
        **encodings,
    )
    return sink.getvalue()


def orc_file(rows: list[Row], name: str, chance: np.random.Generator) -> bytes:
    """An ORC file of these rows, some columns of it of types and values that nobody expects."""
    texts = _texts(rows, name)
    columns: dict[str, Any] = {field: pa.array(column) for field, column in texts.items()}
    for field, column in texts.items():
        if not chance.integers(0, 4):
            binary = [None if text is None else mutated(text.encode(), chance) for text in column]
            columns[field] = pa.array(binary, pa.binary())
    columns["other"] = pa.array(chance.integers(-(2**63), 2**63 - 1, len(rows))).view(pa.timestamp("ns"))
    sink = io.BytesIO()
    packed: Any = str(chance.choice(["zstd", "snappy", "zlib", "uncompressed"]))
    orc.write_table(pa.table(columns), sink, compression=packed, stripe_size=int(chance.choice([4_096, 1 << 20])))
    return sink.getvalue()


def avro_file(rows: list[Row], name: str, chance: np.random.Generator) -> bytes:
    """An Avro file of these rows: texts, bytes and numbers."""
    texts = _texts(rows, name)
    kinds: dict[str, Any] = {
        field: "bytes" if not chance.integers(0, 4) else {"type": "string", "avro.java.string": "String"}
        for field in texts
    }
    columns: dict[str, list[Any]] = {
        field: [text if text is None or kinds[field] != "bytes" else mutated(text.encode(), chance) for text in column]
        for field, column in texts.items()
    }
    fields: list[dict[str, Any]] = [{"name": field, "type": ["null", kind]} for field, kind in kinds.items()]
    fields.append({"name": "other", "type": "long"})
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for record, number in zip(records, chance.integers(-(2**63), 2**63 - 1, len(rows)).tolist(), strict=True):
        record["other"] = number
    sink = io.BytesIO()
    packed = str(chance.choice(["null", "deflate", "zstandard"]))
    interval = int(chance.choice([500, 16_000]))
    fastavro.writer(sink, {"type": "record", "name": "row", "fields": fields}, records, packed, interval)
    return sink.getvalue()


def _texts(rows: list[Row], name: str) -> dict[str, list[str | None]]:
    """The values of each field that the table reads, as text."""
    fields = [column.path[0] for column in tables()[name].read_columns]
    return {
        field: [None if row.get(field) is None else json_text(row[field]).strip('"') for row in rows]
        for field in fields
    }


def _column(texts: list[str | None], chance: np.random.Generator) -> Any:
    count = len(texts)
    words = chance.integers(-(2**63), 2**63 - 1, count)
    scale = int(chance.choice([1, 2**10, 2**20, 2**33, 2**45]))
    wide: Any = pa.array(words // scale)
    unit: Any = str(chance.choice(["ms", "us", "ns"]))
    fine: Any = str(chance.choice(["us", "ns"]))
    offsets: Any = pa.array(np.arange(count + 1, dtype=np.int32))
    kind = int(chance.integers(0, 24))
    raw = [None if text is None else text.encode() for text in texts]
    if kind < 12:
        return pa.array(texts)
    if kind == 12:
        return pa.array([None if text is None else mutated(text, chance) for text in raw], pa.binary())
    if kind == 13:
        return pa.array([None if text is None else mutated(text, chance) for text in raw], pa.binary()).view(
            pa.string()
        )
    if kind == 14:
        return wide.view(pa.timestamp(unit, "UTC"))
    if kind == 15:
        return wide.view(pa.timestamp("us", str(chance.choice(["Foo/Bar", "America/New_York", "+25:00"]))))
    if kind == 16:
        return pa.array((words >> 32).astype(np.int32)).view(pa.date32())
    if kind == 17:
        return wide.view(pa.time64(fine))
    if kind == 18:
        return wide.view(pa.duration(unit))
    if kind == 19:
        return pa.ListArray.from_arrays(offsets, wide.view(pa.timestamp("ns")))
    if kind == 20:
        return pa.StructArray.from_arrays([wide.view(pa.time64("ns")), pa.array(texts)], names=["a", "b"])
    if kind == 21:
        return pa.array(words.view(np.float64))
    if kind == 22:
        return pa.array(texts, pa.string()).dictionary_encode()
    return wide
