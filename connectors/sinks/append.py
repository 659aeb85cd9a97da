"""Append the rows and dead letters of a stream, each once: the last step that the records of a block go through."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from connectors.kafka.partitions import topic_partition
from connectors.sinks.append_outcome import refusal_of, split_by_day, tallies_of, with_dead_letters
from connectors.sinks.bucket_writer import Appended
from connectors.sinks.bucket_writers import Writers
from connectors.sinks.stored_keys import dead_letter_digests
from contracts.arrow_rows import arrow_rows
from contracts.changes import changes_of, takes_updates
from contracts.decoding.decoder import HASH_LOW
from contracts.lineage import HASH, INGESTED_AT, LINEAGE, POSITION, RUN_ID, SOURCE
from contracts.refusal import ErrorCode, Refusal
from contracts.schemas import arrow_schema, stored_columns
from contracts.table import Table
from transforms.changes import KEY_HASH, by_key, by_place
from transforms.coders import BucketKey, from_ipc
from transforms.dead_letters import Refused, dead_letters, minimal
from transforms.deduplicate import Outcome, contents_of
from transforms.offsets import Ack, KeyedAck, Stamp
from transforms.origin import Origin
from transforms.run import Run
from transforms.stamped import KeyedStampedRows

__all__ = ["AppendDeadLetters", "AppendRows", "AppendedRows", "as_batch"]

MAX_HELD_ROWS = 50_000
"""The parts of a bundle are held back up to this many rows, so that they are appended by few requests."""
MAX_HELD_DEAD_LETTERS = 2_000
MAX_HELD_BYTES = 64 << 20
DUPLICATE_MESSAGE = "another record has the same primary key"
REFUSED = "refused"


class AppendedRows(NamedTuple):
    """What comes out of AppendRows."""

    acks: PCollection[KeyedAck]
    """Acknowledgements of the parts whose rows are all durable."""
    refused: PCollection[Refused]
    """Rows that BigQuery refused, and duplicates if the run keeps them, with the Ack of their part."""


@dataclass(eq=False)
class AppendRows(beam.PTransform[PCollection[KeyedStampedRows], AppendedRows]):
    """Append the rows of each bucket whose primary key is new.

    The parts of one bucket come one after the other, to one owner: the step is stateful only for that. The parts that a
    bundle has for a bucket are appended together: the further a stream is behind, the fewer and larger its requests.

    Attributes:
        tables: The tables by name.
        run: The run.
        writers: Where to append.
    """

    tables: Mapping[str, Table]
    run: Run
    writers: Writers

    def expand(self, rows: PCollection[KeyedStampedRows]) -> AppendedRows:
        appended = rows | "Append" >> beam.ParDo(_AppendRows(self.tables, self.run, self.writers)).with_output_types(
            KeyedAck
        ).with_outputs(REFUSED, main="acks")
        return AppendedRows(appended.acks, appended[REFUSED])


@dataclass(eq=False)
class AppendDeadLetters(beam.PTransform[tuple[PCollection[Refused], ...], PCollection[KeyedAck]]):
    """Append the dead letters of each table, and acknowledge their parts.

    The dead letters of a bundle are appended together. A dead letter that BigQuery refuses is appended without its
    record; ValueError is raised if BigQuery refuses that too.

    Attributes:
        tables: The tables by name.
        run: The run.
        writers: Where to append.
        origins: What each topic is: the ids of dead letters tell topics and tables of the same name apart.
    """

    tables: Mapping[str, Table]
    run: Run
    writers: Writers
    origins: Mapping[str, Origin]

    def expand(self, refused: tuple[PCollection[Refused], ...]) -> PCollection[KeyedAck]:
        keyed = [
            part | f"Key by table, {number}" >> beam.Map(_key_by_table).with_output_types(tuple[str, Any])
            for number, part in enumerate(refused, start=1)
        ]
        acks: PCollection[KeyedAck] = (
            keyed
            | "Flatten refused" >> beam.Flatten()
            | "Append" >> beam.ParDo(_AppendDeadLetters(self)).with_output_types(KeyedAck)
        )
        return acks


def _key_by_table(refused: Refused) -> tuple[str, Refused]:
    return refused.table, refused


class _AppendRows(beam.DoFn):
    """KeyedStampedRows -> KeyedAck; Refused on `refused`."""

    ROUTED = ReadModifyWriteStateSpec("routed", BytesCoder())

    def __init__(self, tables: Mapping[str, Table], run: Run, writers: Writers) -> None:
        self._tables = dict(tables)
        self._run = run
        self._writers = writers
        self._content_columns = {
            name: [column.name for column in stored_columns(table) if column not in LINEAGE]
            for name, table in self._tables.items()
        }
        """The columns of each table that have values of the record."""

    def start_bundle(self) -> None:
        self._held: defaultdict[BucketKey, list[tuple[Stamp, pl.DataFrame, list[Refusal]]]] = defaultdict(list)
        self._held_rows = self._held_bytes = 0

    def process(
        self,
        element: KeyedStampedRows,
        _routed: object = beam.DoFn.StateParam(ROUTED),  # makes the step stateful
    ) -> Iterator[KeyedAck | TaggedOutput[str, Refused]]:
        owner, (packed, ipc) = element
        stamp = Stamp.unpack(packed)
        rows, table = from_ipc(ipc).with_columns(pl.lit(stamp.source).alias(SOURCE)), self._tables[owner[0]]
        too_old: list[Refusal] = []
        if takes_updates(table):
            rows = by_place(rows)
        else:
            rows, too_old = split_by_day(table, rows, datetime.now(UTC))
        self._held[owner].append((stamp, rows, too_old))
        self._held_rows += len(rows)
        self._held_bytes += int(rows.estimated_size())
        if self._held_rows >= MAX_HELD_ROWS or self._held_bytes >= MAX_HELD_BYTES:
            for output in self._flush():
                yield TaggedOutput(REFUSED, output) if isinstance(output, Refused) else output

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput[str, WindowedValue]]:
        for output in self._flush():
            windowed = GlobalWindows.windowed_value(output)
            yield TaggedOutput(REFUSED, windowed) if isinstance(output, Refused) else windowed

    def _flush(self) -> Iterator[KeyedAck | Refused]:
        """Append what is held; yield one output for each part."""
        held = self._held
        self.start_bundle()
        for (name, bucket), parts in held.items():
            parts.sort(key=lambda part: (part[0].source, part[0].runs))  # blocks may overtake each other
            rows = pl.concat([rows for _, rows, _ in parts])
            if KEY_HASH not in rows.columns:
                rows = rows.with_columns(contents_of(rows, self._content_columns[name]))
            appended = self._writers.rows_writer(name, bucket).append(rows, functools.partial(self._stored, name))
            start = 0
            for stamp, part, too_old in parts:
                yield self._outcome(name, bucket, stamp, part, appended.part(start, len(part)), too_old)
                start += len(part)

    def _outcome(
        self, name: str, bucket: int, stamp: Stamp, rows: pl.DataFrame, appended: Appended, too_old: list[Refusal]
    ) -> KeyedAck | Refused:
        """Return the Ack of a part, or its refused records, with which the Ack goes on."""
        refused = too_old + [
            refusal_of(rows, row, reason.code, reason.message) for row, reason in appended.refused.items()
        ]
        ack = Ack(stamp, bucket, tallies_of(stamp, rows, appended))
        if self._run.keep_duplicates:
            duplicates = (appended.outcomes == Outcome.DUPLICATE).arg_true()
            refused += [refusal_of(rows, row, ErrorCode.DUPLICATE, DUPLICATE_MESSAGE) for row in duplicates]
        if refused:
            return Refused(name, stamp.source, refused, ack.pack())
        return stamp.source, ack.pack()

    def _stored(self, name: str, rows: pl.DataFrame, now: datetime) -> pa.RecordBatch:
        stored = (by_key(rows) if KEY_HASH in rows.columns else rows).with_columns(
            pl.lit(self._run.run_id).alias(RUN_ID), pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias(INGESTED_AT)
        )
        table = self._tables[name]
        schema = arrow_schema(changes_of(table) if takes_updates(table) else table)
        return as_batch(arrow_rows(stored, schema))


class _AppendDeadLetters(beam.DoFn):
    """(table, Refused) -> KeyedAck, with the dead letters counted in."""

    ROUTED = ReadModifyWriteStateSpec("routed", BytesCoder())

    def __init__(self, step: AppendDeadLetters) -> None:
        self._tables = dict(step.tables)
        self._run = step.run
        self._writers = step.writers
        self._origins = {topic: " ".join(origin[1:]) for topic, origin in step.origins.items()}

    def start_bundle(self) -> None:
        self._held: defaultdict[str, list[Refused]] = defaultdict(list)
        self._held_records = self._held_bytes = 0

    def process(
        self, element: tuple[str, Refused], _routed: object = beam.DoFn.StateParam(ROUTED)
    ) -> Iterator[KeyedAck]:
        name, refused = element
        self._held[name].append(refused)
        self._held_records += len(refused.refusals)
        self._held_bytes += sum(len(refusal.raw) + len(repr(refusal.attributes)) for refusal in refused.refusals)
        if self._held_records >= MAX_HELD_DEAD_LETTERS or self._held_bytes >= MAX_HELD_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for ack in self._flush():
            yield GlobalWindows.windowed_value(ack)

    def _flush(self) -> Iterator[KeyedAck]:
        held = self._held
        self.start_bundle()
        for name, parts in held.items():
            self._append(name, parts)
            for refused in parts:
                ack = Ack.unpack(refused.ack)
                tallies = with_dead_letters(ack, refused.refusals)
                yield ack.stamp.source, Ack(ack.stamp, ack.part, tallies).pack()

    def _append(self, name: str, parts: Sequence[Refused]) -> None:
        now = datetime.now(UTC)
        rows = pa.concat_tables(
            dead_letters(self._tables[name], refused.source, refused.refusals, self._run, now, self._origin(refused))
            for refused in parts
        )
        refused_rows, reason = self._store(name, rows)
        if not refused_rows:
            return
        refused_rows, reason = self._store(name, minimal(rows.take(refused_rows), reason))
        if refused_rows:
            raise ValueError(f"BigQuery refuses a dead letter, even without its record: {reason}")

    def _origin(self, refused: Refused) -> str:
        return self._origins.get(topic_partition(refused.source)[0], "")

    def _store(self, name: str, dead_letters: pa.Table) -> tuple[list[int], str]:
        """Append dead letters; return the indices of those that BigQuery refuses, and why it refuses the first."""
        batch = as_batch(dead_letters)
        digests = dead_letter_digests(pl.Series(dead_letters.column("dead_letter_id").to_pylist()))
        rows = pl.DataFrame(
            {
                HASH: np.ascontiguousarray(digests[:, 0]),
                HASH_LOW: np.ascontiguousarray(digests[:, 1]),
                SOURCE: dead_letters.column("source").to_pylist(),
                POSITION: dead_letters.column("position").to_pylist(),
                "row": range(len(dead_letters)),
            }
        )
        writer = self._writers.dead_letters_writer(name)
        refused = writer.append(rows, lambda new, _: batch.take(new["row"].to_arrow())).refused
        return sorted(refused), next((reason.message for reason in refused.values()), "")


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """The table as one record batch."""
    return table.combine_chunks().to_batches(max_chunksize=max(1, len(table)))[0]
