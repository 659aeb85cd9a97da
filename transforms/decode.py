"""Decode and validate the blocks of a batch: clean rows by bucket, refused records, and what was skipped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from itertools import chain
from typing import NamedTuple

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from contracts.decoding.decoder import Decoder
from contracts.lineage import HASH
from contracts.table import Table
from transforms.coders import KeyedPart, TableBlock
from transforms.dead_letters import Refused
from transforms.early_ratio import EarlyRatio
from transforms.ledger import Count, Door
from transforms.parts import IN_ELEMENTS, PartStore
from transforms.run import Run

__all__ = ["DecodeAndValidate", "DecodedRecords", "split_into_buckets"]

HELD_BYTES, MOST_HELD_BYTES = 8 << 20, 64 << 20
"""Limits of how many bytes of rows are held back, so that a bucket consists of few parts: a megabyte for each bucket,
but at least HELD_BYTES and at most MOST_HELD_BYTES. The allocator reuses the memory of small pieces."""
REFUSED, SKIPPED = "refused", "skipped"


class DecodedRecords(NamedTuple):
    """The three ways out of DecodeAndValidate."""

    rows: PCollection[KeyedPart]
    """Clean rows by bucket."""
    refused: PCollection[Refused]
    """Refused records; they are counted already."""
    skipped: PCollection[Count]
    """Counts of the records of a table that were not decoded, because too many of its records were refused before."""


@dataclass(eq=False)
class DecodeAndValidate(beam.PTransform[PCollection[TableBlock], DecodedRecords]):
    """Decode blocks of raw records into clean rows, split by bucket.

    The rows of a bundle leave together: one part for each block and bucket would be many small parts, and small parts
    cost more per row.

    Attributes:
        tables: The tables by name.
        buckets: The number of buckets of each table.
        run: The run; its start is the day that rules about dates refer to.
        expected_bytes: Upper bound of the bytes of records of each table, see EarlyRatio.
        parts: Where the rows are while they are shuffled.
    """

    tables: Mapping[str, Table]
    buckets: Mapping[str, int]
    run: Run
    expected_bytes: Mapping[str, int]
    parts: PartStore = IN_ELEMENTS

    def expand(self, blocks: PCollection[TableBlock]) -> DecodedRecords:
        decoded = blocks | "Decode blocks" >> beam.ParDo(_DecodeBlocks(self)).with_output_types(KeyedPart).with_outputs(
            REFUSED, SKIPPED, main="rows"
        )
        refused = decoded[REFUSED] | "Count dead letters" >> beam.Map(_count_dead_letters, self.run)
        return DecodedRecords(decoded.rows, refused, decoded[SKIPPED])


class _DecodeBlocks(beam.DoFn):
    """TableBlock -> KeyedPart; Refused on `refused`, Count on `skipped`."""

    def __init__(self, step: DecodeAndValidate) -> None:
        self._tables = dict(step.tables)
        self._buckets = dict(step.buckets)
        self._run = step.run
        self._parts = step.parts
        self._max_held_bytes = min(max(HELD_BYTES, sum(step.buckets.values()) << 20), MOST_HELD_BYTES)
        self._decoders: dict[str, Decoder] = {}
        ratio = step.run.max_dead_letter_ratio
        self._ratios = {name: EarlyRatio(ratio, step.expected_bytes[name]) for name in step.tables}

    def setup(self) -> None:
        day = self._run.started_at.astimezone(UTC).date()
        self._decoders = {
            name: Decoder(table, lambda: day, self._run.keep_duplicates) for name, table in self._tables.items()
        }
        self._threads = ThreadPoolExecutor(1, "store")  # while this thread decodes

    def teardown(self) -> None:
        self._threads.shutdown()

    def start_bundle(self) -> None:
        self._held: defaultdict[tuple[str, str], list[pl.DataFrame]] = defaultdict(list)
        self._held_bytes = 0.0
        self._storing: list[tuple[str, str, Sequence[int], Future[list[bytes]]]] = []

    def process(self, element: TableBlock) -> Iterator[KeyedPart | TaggedOutput[str, Refused | Count]]:
        name, block = element
        ratio = self._ratios[name]
        if ratio.exceeded:
            yield TaggedOutput(SKIPPED, Count(name, block.source, Door.SKIPPED, block.count))
            return
        decoded = self._decoders[name].decode(block)
        ratio.add(block.count, decoded.refusals)
        if decoded.refusals:
            yield TaggedOutput(REFUSED, Refused(name, block.source, decoded.refusals))
        self._held[name, block.source].append(decoded.rows)
        self._held_bytes += decoded.rows.estimated_size()
        if self._held_bytes > self._max_held_bytes:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in chain(self._flush(), self._stored()):
            yield GlobalWindows.windowed_value(part)

    def _flush(self) -> Iterator[KeyedPart]:
        """Start to store what is held, and yield what was stored meanwhile: that needs no interpreter lock."""
        yield from self._stored()
        for (name, source), frames in self._held.items():
            by_bucket = dict(split_into_buckets(pl.concat(frames), self._buckets[name]))
            stored = self._threads.submit(self._parts.write, list(by_bucket.values()))
            self._storing.append((name, source, list(by_bucket), stored))
        self._held.clear()
        self._held_bytes = 0.0

    def _stored(self) -> Iterator[KeyedPart]:
        storing, self._storing = self._storing, []
        for name, source, buckets, stored in storing:
            for bucket, part in zip(buckets, stored.result(), strict=True):
                yield (name, bucket), (source, part)


def _count_dead_letters(refused: Refused, run: Run) -> Refused:
    """Update the metrics and the progress, and pass the records on."""
    state = run.state
    state.progress.add(dead_letters=len(refused.refusals))
    state.metrics.count_dead_letters(refused.table, Counter(refusal.code.value for refusal in refused.refusals))
    return refused


def split_into_buckets(rows: pl.DataFrame, buckets: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Split the rows by `_hash` mod `buckets`. Each bucket keeps the order of its rows; empty buckets are left out."""
    if buckets == 1:
        if len(rows):
            yield 0, rows
        return
    numbered = rows.with_columns((pl.col(HASH) % buckets).alias(_BUCKET))  # polars' modulo is never negative here
    parts = numbered.partition_by(_BUCKET, maintain_order=True, include_key=False, as_dict=True)
    yield from ((int(bucket), part) for (bucket,), part in parts.items())


_BUCKET = "_bucket"
