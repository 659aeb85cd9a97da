"""Batch: files become blocks, blocks become clean rows, every record leaves by one of three doors.

pinned files -> read blocks -> decode and validate -> deduplicate -> Parquet shards --.
                    |                  |                   |                          |
                    `-- counts         `-- dead letters    `-- duplicates             |
                             `---------------- ledger balances <---------------------'
                                                   |
                              record -> load staging -> merge -> close
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection, TaggedOutput

from connectors.bigquery_load import Close, LoadStaging, Merge, RecordBalance, Target
from connectors.files import FileRange, InputFile, ranges, read_blocks
from connectors.parquet import WriteDeadLetters, WriteShards, duplicate_refusals
from connectors.storage import Storage
from contracts.decode import Block
from contracts.refusal import Refusal
from contracts.table import Table
from transforms.coders import BucketPart, TableBlock, TableRows
from transforms.decode import DecodeBlocks
from transforms.deduplicate import Deduplicate
from transforms.ledger import Balance, Count, Door, LetterFile, Shard, Source, balance
from transforms.metrics import count_dead_letters
from transforms.progress import PROGRESS
from transforms.run import Run

__all__ = ["Batch", "buckets_for"]

BUCKET_BYTES = 64 << 20
COMPRESSED_GROWTH = 6
"""What a compressed byte is taken to become, when buckets are counted."""
MAX_BUCKETS = 4096


def buckets_for(files: Iterable[InputFile]) -> int:
    """Buckets of a table's keys: one for each 64 MB of input or so."""
    size = sum(file.size * (COMPRESSED_GROWTH if file.compression or file.format == "parquet" else 1) for file in files)
    return max(1, min(MAX_BUCKETS, math.ceil(size / BUCKET_BYTES)))


@dataclass(frozen=True)
class Batch:
    """A batch run as a graph. `build` makes it whole; the ends can be swapped, the middle is always this one."""

    run: Run
    tables: Mapping[str, Table]
    inputs: tuple[InputFile, ...]
    storage: Storage

    def build(self, pipeline: beam.Pipeline, target: Target, write_shards: beam.DoFn | None = None) -> None:
        """From pinned files to the warehouse; nothing outside the graph is needed to finish."""
        self.load(self.balance(pipeline, write_shards), target)

    def balance(self, pipeline: beam.Pipeline, write_shards: beam.DoFn | None = None) -> PCollection[Balance]:
        """From pinned files to Parquet shards and dead-letter files, and the balance of it all."""
        inputs = pipeline | "Pinned files" >> beam.Create(self.inputs)
        read = (
            inputs
            | "Into ranges" >> beam.ParDo(_IntoRanges(self.storage))
            | "Spread ranges" >> beam.Reshuffle()
            | "Read blocks"
            >> beam.ParDo(_ReadBlocks(self.tables, self.run, self.storage))
            .with_output_types(TableBlock)
            .with_outputs("counts", main="blocks")
        )
        decoded = read.blocks | "Decode and validate" >> beam.ParDo(
            DecodeBlocks(self.tables, self._buckets(), self.run)
        ).with_output_types(tuple[tuple[str, int], BucketPart]).with_outputs(DecodeBlocks.REFUSED, main="rows")
        unique = (
            decoded.rows
            | "Into buckets" >> beam.GroupByKey()
            | "Deduplicate"
            >> beam.ParDo(Deduplicate(dict(self.tables), self.run))
            .with_output_types(TableRows)
            .with_outputs(Deduplicate.COUNTS, Deduplicate.DUPLICATES, main="rows")
        )
        shards = unique.rows | "Write shards" >> beam.ParDo(write_shards or WriteShards(self.run, self.storage))
        refused = decoded[DecodeBlocks.REFUSED] | "Tell of the refused" >> beam.Map(_told)
        if self.run.keep_duplicates:  # a Flatten is a stage of its own to FnApiRunner
            duplicates = unique[Deduplicate.DUPLICATES] | "Duplicates" >> beam.FlatMap(_duplicates)
            refused = (refused, duplicates) | "All refused" >> beam.Flatten()
        letters = refused | "Write dead letters" >> beam.ParDo(WriteDeadLetters(self.tables, self.run, self.storage))
        pinned = inputs | "Sources" >> beam.Map(_source)
        ratio = self.run.max_dead_letter_ratio
        found: PCollection[Balance] = (
            (pinned, read.counts, unique[Deduplicate.COUNTS], shards, letters)
            | "All counts" >> beam.Flatten()
            | "Of the run" >> beam.Map(_of_the_run)
            | "Gather counts" >> beam.GroupByKey()
            | "Balance" >> beam.MapTuple(lambda _, items: _balance(items, ratio))
        )
        return found

    def load(self, balances: PCollection[Balance], target: Target) -> None:
        """From the balance to the warehouse; each step is a stage of its own, so that a retry repeats no other."""
        (
            balances
            | "Record balance" >> beam.ParDo(RecordBalance(target))
            | "Balanced" >> beam.Reshuffle()
            | "Load staging" >> beam.ParDo(LoadStaging(target))
            | "Loaded" >> beam.Reshuffle()
            | "Merge" >> beam.ParDo(Merge(target))
            | "Of all tables" >> beam.Map(_of_the_run)
            | "Merged" >> beam.GroupByKey()
            | "Close" >> beam.ParDo(Close(target, self.storage))
        )

    def _buckets(self) -> dict[str, int]:
        return {name: buckets_for(file for file in self.inputs if file.table == name) for name in self.tables}


class _IntoRanges(beam.DoFn):
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def process(self, file: InputFile) -> Iterator[FileRange]:
        yield from ranges(self._storage, file)


class _ReadBlocks(beam.DoFn):
    """FileRange -> (table, Block); what was read is counted here, upstream of decode."""

    def __init__(self, tables: Mapping[str, Table], run: Run, storage: Storage) -> None:
        self._tables = dict(tables)
        self._limit = run.max_record_bytes
        self._storage = storage

    def process(self, part: FileRange) -> Iterator[tuple[str, Block] | TaggedOutput[str, Count]]:
        table = self._tables[part.file.table]
        records = 0
        for block in read_blocks(self._storage, part, table, self._limit):
            records += block.count
            yield table.name, block
        yield TaggedOutput("counts", Count(table.name, part.file.uri, Door.READ, records))


def _source(file: InputFile) -> Source:
    return Source(file.table, file.uri, file.generation, file.size)


def _of_the_run(
    item: Source | Count | Shard | LetterFile | object,
) -> tuple[None, Source | Count | Shard | LetterFile | object]:
    return None, item


def _told(element: tuple[str, str, Sequence[Refusal]]) -> tuple[str, str, Sequence[Refusal]]:
    table, _, refusals = element
    PROGRESS.add(dead_letters=len(refusals))
    count_dead_letters(table, Counter(refusal.code.value for refusal in refusals))
    return element


def _balance(items: Iterable[Source | Count | Shard | LetterFile], max_dead_letter_ratio: float) -> Balance:
    PROGRESS.loading = True
    return balance(items, max_dead_letter_ratio)


def _duplicates(element: tuple[str, pl.DataFrame]) -> Iterator[tuple[str, str, list[Refusal]]]:
    name, rows = element
    for source, refusals in duplicate_refusals(rows):
        yield name, source, refusals
