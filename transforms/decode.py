"""Decode and validate: blocks become clean rows in buckets, and refused records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC
from itertools import chain
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from contracts.decode import HASH, Block, Decoder
from contracts.table import Table
from transforms.coders import BucketPart, as_ipc
from transforms.run import Run

__all__ = ["DecodeBlocks", "split_into_buckets"]

HELD_BYTES, MOST_HELD_BYTES = 8 << 20, 64 << 20
"""Rows are held back up to this many bytes, so that a bucket is made of few parts: a megabyte for each bucket, within
these limits. Memory that is freed is used again where pieces are small."""


class DecodeBlocks(beam.DoFn):
    """(table, block) -> ((table, bucket), BucketPart); (table, source, refusals) on `refused`.

    `buckets` holds the number of buckets of each table. The rows of a bundle leave together: a part for every block
    and bucket would be many small ones, more for each row the more rows there are.
    """

    REFUSED = "refused"

    def __init__(self, tables: Mapping[str, Table], buckets: Mapping[str, int], run: Run) -> None:
        self._tables = dict(tables)
        self._buckets = dict(buckets)
        self._run = run
        self._most = min(max(HELD_BYTES, sum(buckets.values()) << 20), MOST_HELD_BYTES)
        self._decoders: dict[str, Decoder] = {}

    def setup(self) -> None:
        day = self._run.started_at.astimezone(UTC).date()
        self._decoders = {
            name: Decoder(table, lambda: day, self._run.keep_duplicates) for name, table in self._tables.items()
        }
        self._threads = ThreadPoolExecutor(1, "compress")  # beside the one that decodes

    def teardown(self) -> None:
        self._threads.shutdown()

    def start_bundle(self) -> None:
        self._held: defaultdict[tuple[str, str], list[pl.DataFrame]] = defaultdict(list)
        self._bytes = 0.0
        self._leaving: list[tuple[str, int, str, Future[bytes]]] = []

    def process(
        self, element: tuple[str, Block]
    ) -> Iterator[tuple[tuple[str, int], BucketPart] | TaggedOutput[str, Any]]:
        name, block = element
        decoded = self._decoders[name].decode(block)
        if decoded.refusals:
            yield TaggedOutput(self.REFUSED, (name, block.source, decoded.refusals))
        self._held[name, block.source].append(decoded.rows)
        self._bytes += decoded.rows.estimated_size()
        if self._bytes > self._most:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in chain(self._flush(), self._left()):
            yield GlobalWindows.windowed_value(part)

    def _flush(self) -> Iterator[tuple[tuple[str, int], BucketPart]]:
        """Let what is held be compressed, and give what was to be compressed before: it needs no interpreter."""
        yield from self._left()
        for (name, source), frames in self._held.items():
            self._leaving += [
                (name, bucket, source, self._threads.submit(as_ipc, rows))
                for bucket, rows in split_into_buckets(pl.concat(frames), self._buckets[name])
            ]
        self._held.clear()
        self._bytes = 0.0

    def _left(self) -> Iterator[tuple[tuple[str, int], BucketPart]]:
        leaving, self._leaving = self._leaving, []
        for name, bucket, source, part in leaving:
            yield (name, bucket), (source, part.result())


def split_into_buckets(rows: pl.DataFrame, buckets: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows by `_hash` mod `buckets`, in order within each; buckets without rows are left out."""
    if buckets == 1:
        if len(rows):
            yield 0, rows
        return
    numbered = rows.with_columns((pl.col(HASH) % buckets).alias(_BUCKET))  # polars' modulo is never negative here
    parts = numbered.partition_by(_BUCKET, maintain_order=True, include_key=False, as_dict=True)
    yield from ((int(bucket), part) for (bucket,), part in parts.items())


_BUCKET = "_bucket"
