"""Deduplicate: of all rows with one primary key, which is written.

`decide` is the one function that decides it, for files and for Kafka. A batch calls it once for each bucket of
keys, with all rows of the bucket in order of precedence and nothing known; a stream calls it for each block,
with an index of what the table holds.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import TaggedOutput

from contracts.decode import HASH, HASH_LOW, POSITION
from contracts.table import Table, WriteDisposition
from transforms import metrics
from transforms.coders import BucketPart, from_ipc
from transforms.ledger import Count, Door
from transforms.run import Run

__all__ = [
    "SOURCE",
    "Deduplicate",
    "Fate",
    "Index",
    "NothingKnown",
    "bucket_rows",
    "decide",
    "in_order_of_precedence",
]

SOURCE = "_source"


class Fate(enum.IntEnum):
    """What becomes of a row."""

    FIRST = 0
    """It is written: no other row has its key."""
    DUPLICATE = 1
    SELF = 2
    """It was written before, from this very source and position: the same record, read again after a crash."""


class Index(Protocol):
    """The keys that a table holds, with the source and position of the row that won each."""

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        """For each row of `digests` (`_hash`, `_hash_low`) the winner's `_source` and `_position`; null: new."""
        ...


class NothingKnown:
    """The index of a batch: its bucket is whole, so there is nothing besides it."""

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        rows = len(digests)  # said outright: select() of literals alone gives as many rows as there are chunks
        return pl.DataFrame(
            {SOURCE: [None] * rows, POSITION: [None] * rows}, schema={SOURCE: pl.String, POSITION: pl.Int64}
        )


def decide(rows: pl.DataFrame, index: Index) -> pl.Series:
    """The fate of each row, as Int8, where `rows` stand in order of precedence.

    `rows` has `_hash`, `_hash_low`, `_source` and `_position`. A key that the index holds is DUPLICATE, or SELF
    where it is held for this same source and position; of the others the first row of each key is FIRST.
    """
    digests = rows.select(HASH, HASH_LOW)
    held = index.find(digests)
    known = held[POSITION].is_not_null()
    itself = known & (held[POSITION] == rows[POSITION]) & (held[SOURCE] == rows[SOURCE])
    first = digests.select(pl.struct(HASH, HASH_LOW).is_first_distinct()).to_series()
    fate = (
        pl.when(itself)
        .then(Fate.SELF.value)
        .when(known | ~first)
        .then(Fate.DUPLICATE.value)
        .otherwise(Fate.FIRST.value)
    )
    return pl.select(fate.cast(pl.Int8)).to_series()


def in_order_of_precedence(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows, which stand in order of source and position, with the one that wins a key before the others.

    `append` keeps the first, `merge` and `replace` the last; with `versionBy` the one with the greatest version.
    """
    if table.disposition is not WriteDisposition.APPEND:
        rows = rows.reverse()
    if table.version_by:
        rows = rows.sort(table.version_by, descending=True, nulls_last=True, maintain_order=True)
    return rows


def bucket_rows(parts: Iterable[BucketPart]) -> pl.DataFrame:
    """All rows of a bucket in order of source and position, with their `_source`, whatever order the parts come in."""
    by_source: defaultdict[str, list[pl.DataFrame]] = defaultdict(list)
    for source, rows in parts:
        by_source[source].append(from_ipc(rows))
    return pl.concat(
        _in_order(by_source[source]).with_columns(pl.lit(source).alias(SOURCE)) for source in sorted(by_source)
    )


def _in_order(parts: list[pl.DataFrame]) -> pl.DataFrame:
    rows = pl.concat(sorted(parts, key=lambda part: int(part[POSITION][0])))
    return rows if rows[POSITION].is_sorted() else rows.sort(POSITION)


class Deduplicate(beam.DoFn):
    """((table, bucket), parts) -> (table, bucket, rows that are written); the others are counted on `counts`.

    With `keep_duplicates` the others come out on `duplicates` as (table, rows), with their records in `_raw`.
    """

    COUNTS = "counts"
    DUPLICATES = "duplicates"

    def __init__(self, tables: dict[str, Table], run: Run) -> None:
        self._tables = tables
        self._keep = run.keep_duplicates

    def process(
        self, element: tuple[tuple[str, int], Iterable[BucketPart]]
    ) -> Iterator[tuple[str, int, pl.DataFrame] | TaggedOutput[str, Any]]:
        (name, bucket), parts = element
        in_order = bucket_rows(parts)
        rows = in_order_of_precedence(in_order, self._tables[name])
        fates = decide(rows, NothingKnown())
        others = rows.filter(fates != Fate.FIRST)
        for source, count in others.group_by(SOURCE).len().sort(SOURCE).iter_rows():
            metrics.count(metrics.RECORDS, count, name, "duplicate")
            yield TaggedOutput(self.COUNTS, Count(name, source, Door.DUPLICATE, count))
        if self._keep and len(others):
            yield TaggedOutput(self.DUPLICATES, (name, others))
        written = rows.filter(fates == Fate.FIRST)
        yield name, bucket, written if rows is in_order else written.sort(SOURCE, POSITION)
