"""Batches of an Avro file: an object container file, with any schema of its writer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from connectors.files.avro_container import AvroBlock, avro_blocks, avro_header, container
from connectors.files.avro_schema import Record, record_of
from connectors.files.columns_read import Batch, names_read
from contracts.bisect import DATA_ERRORS
from contracts.table import Table

__all__ = ["avro_batches"]

GROUP_BYTES, GROUP_ROWS = 1 << 20, 16_384
"""Blocks are decoded in groups of about this size."""


def avro_batches(source: Any, table: Table | None) -> Iterator[Batch]:
    """Yield batches of the columns that `table` reads, under its names, each with all fields of the file.

    Raises ValueError, or an error of polars or of a codec, behind the batches of the blocks before the damage.
    """
    header = avro_header(source)
    record = record_of(header.schema)
    names = names_read(list(record), table)
    fields = {name: reading.fields if reading else None for name, reading in record.items()}
    for group, error in _groups(avro_blocks(source, header)):
        for batch in _decoded(group, record, names):
            yield batch, fields
        if error is not None:
            raise error


def _groups(blocks: Iterator[AvroBlock]) -> Iterator[tuple[list[AvroBlock], BaseException | None]]:
    """Yield the blocks in groups; the last one has the error that ended them, or None."""
    group: list[AvroBlock] = []
    size = rows = 0
    error: BaseException | None = None
    try:
        for block in blocks:
            group.append(block)
            size, rows = size + len(block.data), rows + block.records
            if size >= GROUP_BYTES or rows >= GROUP_ROWS:
                yield group, None
                group, size, rows = [], 0, 0
    except DATA_ERRORS as damage:
        error = damage
    if group or error is not None:
        yield group, error


def _decoded(group: list[AvroBlock], record: Record, names: dict[int, str]) -> Iterator[pa.RecordBatch]:
    """Yield the batch of a group, or those of its blocks up to the one that is damaged, which raises."""
    if not group:
        return
    try:
        yield _batch(group, record, names)
    except DATA_ERRORS:
        if len(group) == 1:
            raise
        for block in group:
            yield _batch([block], record, names)


def _batch(blocks: list[AvroBlock], record: Record, names: dict[int, str]) -> pa.RecordBatch:
    plain = {f"f{number}": reading for number, reading in enumerate(record.values()) if reading is not None}
    fields = [{"name": name, "type": reading.plain} for name, reading in plain.items()]
    stored = container({"type": "record", "name": "record", "fields": fields}, blocks)
    wanted = [name for name in plain if int(name[1:]) in names]
    frame = pl.read_avro(io.BytesIO(stored), columns=wanted)
    rows = sum(block.records for block in blocks)
    if wanted and frame.height != rows:
        raise ValueError(f"a block has {frame.height} records, not {rows}")
    arrays = [
        plain[name].convert(frame[name].to_arrow()) if (name := f"f{number}") in plain else pa.nulls(rows)
        for number in names
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(names.values()))
