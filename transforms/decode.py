"""Decode and validate: blocks become clean rows in buckets, and refused records."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import TaggedOutput

from contracts.decode import HASH, POSITION, Block, Decoder
from contracts.table import Table
from transforms.deduplicate import BucketPart
from transforms.run import Run

__all__ = ["DecodeBlocks", "split_into_buckets"]


class DecodeBlocks(beam.DoFn):
    """(table, block) -> ((table, bucket), BucketPart); (table, source, refusals) on `refused`.

    `buckets` holds the number of buckets of each table.
    """

    REFUSED = "refused"

    def __init__(self, tables: Mapping[str, Table], buckets: Mapping[str, int], run: Run) -> None:
        self._tables = dict(tables)
        self._buckets = dict(buckets)
        self._run = run
        self._decoders: dict[str, Decoder] = {}

    def setup(self) -> None:
        day = self._run.started_at.astimezone(UTC).date()
        self._decoders = {
            name: Decoder(table, lambda: day, self._run.keep_duplicates) for name, table in self._tables.items()
        }

    def process(
        self, element: tuple[str, Block]
    ) -> Iterator[tuple[tuple[str, int], BucketPart] | TaggedOutput[str, Any]]:
        name, block = element
        decoded = self._decoders[name].decode(block)
        for bucket, rows in split_into_buckets(decoded.rows, self._buckets[name]):
            yield (name, bucket), BucketPart(block.source, int(rows[POSITION][0]), as_ipc(rows))
        if decoded.refusals:
            yield TaggedOutput(self.REFUSED, (name, block.source, decoded.refusals))


def split_into_buckets(rows: pl.DataFrame, buckets: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows by `_hash` mod `buckets`, in order within each; buckets without rows are left out."""
    if buckets == 1:
        if len(rows):
            yield 0, rows
        return
    numbers = rows.select((pl.col(HASH) % buckets).alias("bucket")).to_series()  # polars' modulo is never negative here
    for bucket in range(buckets):
        part = rows.filter(numbers == bucket)
        if len(part):
            yield bucket, part


def as_ipc(rows: pl.DataFrame) -> bytes:
    """The frame as an Arrow IPC stream."""
    sink = io.BytesIO()
    rows.write_ipc_stream(sink)
    return sink.getvalue()
