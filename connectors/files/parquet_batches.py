"""Batches of a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.files.columns_read import Batch, fields_of, names_read
from connectors.files.parquet_footer import DELTA, DELTA_TEXT, column_chunks
from contracts.table import Table

__all__ = ["parquet_batches"]

BATCH_ROWS = 1_024
PIECE_BYTES = 4 << 20
BYTE_ARRAY = "BYTE_ARRAY"
ENCRYPTED = b"PARE"
"""The last bytes of a file whose footer is encrypted."""
FEW_ROWS = 64
"""Rows of a batch whose texts Arrow decodes itself: a few stored bytes may become a long text."""


def parquet_batches(source: Any, table: Table | None) -> Iterator[Batch]:
    """Yield batches of the columns that `table` reads, under its names, each with all fields of the file."""
    file = _opened(source)
    metadata = file.metadata
    fields = {field.name: fields_of(field.type) for field in file.schema_arrow}
    names = names_read(file.schema_arrow.names, table)
    tops = _tops(file)
    leaves = [file.schema.column(number) for number, top in enumerate(tops) if top in names]
    numbers = [number for number, top in enumerate(tops) if top in names]
    paths = [leaf.path for leaf in leaves]
    chunks = [[group[number] for number in numbers] for group in column_chunks(source)]
    encodings = [frozenset().union(*(chunk.encodings for chunk in column)) for column in zip(*chunks, strict=True)]
    # Texts stay dictionary-encoded until a piece of rows is converted, so that each is stored once. Arrow cannot do
    # that for texts that are stored as differences.
    texts = [
        leaf.path
        for leaf, encoded in zip(leaves, encodings, strict=False)
        if leaf.physical_type == BYTE_ARRAY and not encoded & DELTA
    ]
    most = FEW_ROWS if any(DELTA_TEXT in encoded for encoded in encodings) else BATCH_ROWS
    called = {file.schema_arrow.names[number]: name for number, name in names.items()}
    file = pq.ParquetFile(source, metadata=metadata, read_dictionary=texts, coerce_int96_timestamp_unit="us")
    total = 0
    for group, columns in zip(range(metadata.num_row_groups), chunks, strict=True):
        stated, given = int(metadata.row_group(group).num_rows), 0
        size = sum(chunk.bytes for chunk in columns) // max(stated, 1)
        rows = max(1, min(most, PIECE_BYTES // max(size, 1)))
        for batch in file.iter_batches(rows, row_groups=[group], columns=paths):
            read = {called[name]: batch.column(at) for at, name in enumerate(batch.schema.names) if name in called}
            yield pa.RecordBatch.from_arrays(list(read.values()), names=list(read)), fields
            given += batch.num_rows
        if given != stated:
            raise ValueError(f"row group {group} has {given} rows, its metadata says {stated}")
        total += given
    if total != metadata.num_rows:
        raise ValueError(f"it has {total} rows, its metadata says {metadata.num_rows}")


def _opened(source: Any) -> pq.ParquetFile:
    """Return the open file. Raises ValueError for one whose footer is encrypted, else what Arrow raises."""
    try:
        return pq.ParquetFile(source)
    except (pa.ArrowException, OSError):
        source.seek(max(source.seek(0, os.SEEK_END) - len(ENCRYPTED), 0))
        if source.read(len(ENCRYPTED)) == ENCRYPTED:
            raise ValueError("it is encrypted; write it without encryption") from None
        raise


def _tops(file: pq.ParquetFile) -> list[int]:
    """Return for each leaf of the schema the number of its column. Raises ValueError for an unknown type."""

    def leaves(kind: Any) -> int:
        if isinstance(kind, pa.BaseExtensionType):
            return leaves(kind.storage_type)
        inner: list[int] = [leaves(kind.field(at).type) for at in range(kind.num_fields)]
        return sum(inner) or 1

    tops = [number for number, field in enumerate(file.schema_arrow) for _ in range(leaves(field.type))]
    if len(tops) != len(file.schema):
        raise ValueError("it has a column of an unknown type")
    return tops
