"""Deduplicate: choose the row to write among all rows with one primary key.

`decide` makes this choice for files and for Kafka. A batch calls it once for each bucket of keys, with all rows of the
bucket in order of precedence and an empty index. A stream calls it for each append, with an index of the keys that the
table holds.
"""

from __future__ import annotations

import enum
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection, TaggedOutput

from contracts.decoding.decoder import ATTRIBUTES, HASH_LOW, RAW
from contracts.lineage import HASH, POSITION, SOURCE
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Table, WriteDisposition
from transforms.coders import BucketKey, BucketPart, KeyedPart, TableRows
from transforms.dead_letters import Refused
from transforms.ledger import Count, Door
from transforms.metrics import RECORDS
from transforms.parts import IN_ELEMENTS, PartStore
from transforms.run import Run
from transforms.source_order import natural_order

__all__ = [
    "CONTENT",
    "Comparison",
    "Deduplicate",
    "Index",
    "NothingKnown",
    "Outcome",
    "UniqueRows",
    "bucket_rows",
    "compare",
    "contents_of",
    "decide",
    "in_order_of_precedence",
]

CONTENT = "_content"
"""A 16-bit digest of a row's values, see `contents_of`; 0 if it is not known. It is not stored."""
DUPLICATE_MESSAGE = "another record of this run has the same primary key"
COUNTS, DUPLICATES = "counts", "duplicates"


class Outcome(enum.IntEnum):
    """What happens to a row."""

    FIRST = 0
    """The row is written: no row with its key comes before it."""
    DUPLICATE = 1
    REDELIVERED = 2
    """The row was written before, from the same source and position: the record was read again after a crash."""


class Comparison(enum.IntEnum):
    """How a duplicate compares with the row that was written."""

    SAME = 0
    DIFFERS = 1
    """A column other than lineage differs: an update, which an append does not apply."""
    UNKNOWN = 2
    """The values of the written row are not in memory: it was written before this process took the bucket."""


class Index(Protocol):
    """The keys that a table holds, each with the source and position of the row that was written."""

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        """Look up keys; `digests` has `_hash` and `_hash_low`, and one row for each key.

        Returns `_source` and `_position` of the written rows, null for a new key, and `_content`, 0 if it is not known.
        """
        ...


class NothingKnown:
    """The index of a batch: its bucket is complete, so the bucket's own rows are all that matters."""

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        rows = len(digests)  # explicit, because select() of literals alone returns one row for each chunk
        return pl.DataFrame(
            {SOURCE: [None] * rows, POSITION: [None] * rows, CONTENT: [0] * rows},
            schema={SOURCE: pl.String, POSITION: pl.Int64, CONTENT: pl.UInt16},
        )


def decide(rows: pl.DataFrame, index: Index) -> pl.Series:
    """Return the Outcome of each row, as Int8; `rows` must be in order of precedence.

    `rows` has `_hash`, `_hash_low`, `_source` and `_position`. A row whose key is in the index is a DUPLICATE, or
    REDELIVERED if the index has it for the same source and position. Of the other rows, the first of each key is FIRST.
    """
    digests = rows.select(HASH, HASH_LOW)
    written = index.find(digests)
    known = written[POSITION].is_not_null()
    redelivered = known & (written[POSITION] == rows[POSITION]) & (written[SOURCE] == rows[SOURCE])
    first = digests.select(pl.struct(HASH, HASH_LOW).is_first_distinct()).to_series()
    outcomes = (
        pl.when(redelivered)
        .then(Outcome.REDELIVERED.value)
        .when(known | ~first)
        .then(Outcome.DUPLICATE.value)
        .otherwise(Outcome.FIRST.value)
    )
    return pl.select(outcomes.cast(pl.Int8)).to_series()


def contents_of(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Return a digest of each row's values in `columns`, as `_content`: 1 to 65,535, equal for equal rows in a process.

    Two different rows have the same digest once in 65,535 times. That is enough for a count, at two bytes a key.
    """
    digests = rows.select(columns).hash_rows() % 65_535 + 1
    return digests.cast(pl.UInt16).alias(CONTENT)


def compare(rows: pl.DataFrame, outcomes: pl.Series, index: Index) -> pl.Series:
    """Return the Comparison of each row, as Int8; SAME for a row that is not a DUPLICATE.

    `rows` as for `decide`, with `_content`. The index must know the FIRST rows by now, if they were written.
    """
    duplicates = (outcomes == Outcome.DUPLICATE).arg_true()
    compared = pl.Series([Comparison.SAME.value], dtype=pl.Int8).new_from_index(0, len(rows))
    if not len(duplicates):
        return compared
    duplicate_rows = rows[duplicates]
    written = index.find(duplicate_rows.select(HASH, HASH_LOW))[CONTENT]
    comparisons = (
        pl.when(written == 0)
        .then(Comparison.UNKNOWN.value)
        .when(written != duplicate_rows[CONTENT])
        .then(Comparison.DIFFERS.value)
        .otherwise(Comparison.SAME.value)
    )
    return compared.scatter(duplicates, pl.select(comparisons.cast(pl.Int8)).to_series())


def in_order_of_precedence(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Sort rows that are in order of source and position so that the row to write comes first among those of its key.

    `append` writes the first row, `merge` and `replace` the last one; with `versionBy` the one with the greatest
    version.
    """
    if table.disposition is not WriteDisposition.APPEND:
        rows = rows.reverse()
    if table.version_by:
        rows = rows.sort(table.version_by, descending=True, nulls_last=True, maintain_order=True)
    return rows


def bucket_rows(parts: Iterable[BucketPart], store: PartStore = IN_ELEMENTS) -> pl.DataFrame:
    """All rows of a bucket with their `_source`, in natural order of source, then of position.

    The order does not depend on the order of the parts.
    """
    by_source: defaultdict[str, list[pl.DataFrame]] = defaultdict(list)
    for source, rows in parts:
        by_source[source].append(store.read(rows))
    return pl.concat(
        _in_order_of_position(by_source[source]).with_columns(pl.lit(source).alias(SOURCE))
        for source in sorted(by_source, key=natural_order)
    )


def _in_order_of_position(parts: list[pl.DataFrame]) -> pl.DataFrame:
    rows = pl.concat(sorted(parts, key=lambda part: int(part[POSITION][0])))
    return rows if rows[POSITION].is_sorted() else rows.sort(POSITION)


class UniqueRows(NamedTuple):
    """What comes out of Deduplicate."""

    rows: PCollection[TableRows]
    """The rows that are written, in order of source and position."""
    counts: PCollection[Count]
    """How many rows of each source are duplicates."""
    duplicates: PCollection[Refused] | None
    """The duplicates themselves, for audit; None unless the run keeps them."""


@dataclass(eq=False)
class Deduplicate(beam.PTransform[PCollection[KeyedPart], UniqueRows]):
    """Keep one row of each primary key, see `decide`. The result does not depend on how rows were spread over parts.

    Attributes:
        tables: The tables by name.
        run: The run. If it keeps duplicates, they come out as refused records, and rows have their records in `_raw`.
        parts: Where the rows are while they are shuffled.
    """

    tables: Mapping[str, Table]
    run: Run
    parts: PartStore = IN_ELEMENTS

    def expand(self, parts: PCollection[KeyedPart]) -> UniqueRows:
        unique = (
            parts
            | "Group by bucket" >> beam.GroupByKey()
            | "Choose rows"
            >> beam.ParDo(_ChooseRows(self.tables, self.run, self.parts))
            .with_output_types(TableRows)
            .with_outputs(COUNTS, DUPLICATES, main="rows")
        )
        duplicates = None
        if self.run.keep_duplicates:
            duplicates = unique[DUPLICATES] | "Keep duplicates" >> beam.FlatMapTuple(duplicate_refusals)
        return UniqueRows(unique.rows, unique[COUNTS], duplicates)


class _ChooseRows(beam.DoFn):
    """(BucketKey, parts) -> TableRows; Count on `counts`, (table, duplicate rows) on `duplicates`."""

    def __init__(self, tables: Mapping[str, Table], run: Run, parts: PartStore) -> None:
        self._tables = dict(tables)
        self._run = run
        self._parts = parts

    def process(
        self, element: tuple[BucketKey, Iterable[BucketPart]]
    ) -> Iterator[TableRows | TaggedOutput[str, Count | tuple[str, pl.DataFrame]]]:
        (name, bucket), parts = element
        state = self._run.state
        in_order = bucket_rows(parts, self._parts)
        rows = in_order_of_precedence(in_order, self._tables[name])
        outcomes = decide(rows, NothingKnown())
        duplicates = rows.filter(outcomes != Outcome.FIRST)
        for source, count in duplicates.group_by(SOURCE).len().sort(SOURCE).iter_rows():
            state.metrics.count(RECORDS, count, name, "duplicate")
            yield TaggedOutput(COUNTS, Count(name, source, Door.DUPLICATE, count))
        if self._run.keep_duplicates and len(duplicates):
            yield TaggedOutput(DUPLICATES, (name, duplicates))
        written = rows.filter(outcomes == Outcome.FIRST)
        yield name, bucket, written if rows is in_order else written.sort(SOURCE, POSITION)


def duplicate_refusals(table: str, rows: pl.DataFrame) -> Iterator[Refused]:
    """Duplicates as refused records, one Refused for each source; `rows` as Decoder makes them with `keep_raw`."""
    for (source,), group in rows.group_by(SOURCE, maintain_order=True):
        refusals = [
            Refusal(position, raw, ErrorCode.DUPLICATE, DUPLICATE_MESSAGE, attributes=json.loads(attributes))
            for position, raw, attributes in group.select(POSITION, RAW, ATTRIBUTES).iter_rows()
        ]
        yield Refused(table, str(source), refusals)
