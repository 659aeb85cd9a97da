"""Rows and dead letters of a stream into BigQuery, each once: the last step that a part of a block meets."""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from connectors.lanes import Appended, Lane, LetterKeys, RowKeys, lane_of, letter_digests
from connectors.leases import Leases
from connectors.patience import Patience
from connectors.warehouse import Warehouse
from connectors.write_streams import Bucket, WriteStreams
from contracts.decode import ATTRIBUTES, HASH, HASH_LOW, POSITION, RAW
from contracts.envelope import ENVELOPE, TIMESTAMP, envelope_attributes
from contracts.refusal import ErrorCode, Refusal
from contracts.schemas import arrow_schema
from contracts.table import Table
from transforms.coders import from_ipc
from transforms.dead_letters import DEAD_LETTER, Refused, dead_letters
from transforms.deduplicate import SOURCE, Fate
from transforms.latency import count_latencies
from transforms.offsets import Ack, Stamp, Tally, run_of
from transforms.run import Run

__all__ = ["AppendLetters", "AppendRows", "Destination", "LeaseLost"]

MOST_ROWS = 50_000
"""Rows that a bundle's parts are held back for, so that they are appended at once."""
MOST_LETTERS = 2_000
"""The same of refused records."""
logger = logging.getLogger(__name__)
DUPLICATE = "another record has the same primary key"
Committed = Callable[[], Mapping[str, int]]


class LeaseLost(Exception):
    """Another run writes the table now."""


@dataclass(frozen=True)
class Destination:
    """Where a stream writes: the tables by name, their data sets, how their keys are split and for how long known.

    `committed` gives the committed offset of each source; it is asked when a bucket is taken.
    """

    run: Run
    tables: Mapping[str, Table]
    datasets: Mapping[str, str]
    warehouse: Warehouse
    buckets: int
    horizon: timedelta
    patience: Patience
    committed: Committed

    def lane_name(self, table: str) -> str:
        """Whose rows go through the lanes of a table."""
        return f"{self.datasets[table]}.{table}"

    def rows_lane(self, table: str, bucket: int) -> Lane:
        """The lane of one bucket of a table's rows."""
        where = Bucket(self.datasets[table], table, self.lane_name(table), self.buckets, bucket)
        schema = arrow_schema(self.tables[table])
        keys = RowKeys(self.warehouse, self.patience, self.tables[table].primary_key, self.horizon)
        return lane_of(self.run.token, where, lambda: self._lane(table, where, schema, keys))

    def letters_lane(self, table: str) -> Lane:
        """The lane of a table's dead letters."""
        where = Bucket(self.run.operations_dataset, "dead_letters", self.lane_name(table), 1, 0)
        keys = LetterKeys(self.warehouse, self.patience)
        return lane_of(self.run.token, where, lambda: self._lane(table, where, DEAD_LETTER, keys))

    def take_lanes(self) -> None:
        """Take every bucket, for a process that is the only one of its job. What cannot be taken now is taken by its
        first append, or fails there."""
        lanes = [
            *(self.rows_lane(table, bucket) for table in self.tables for bucket in range(self.buckets)),
            *(self.letters_lane(table) for table in self.tables),
        ]
        for lane in lanes:
            try:
                lane.take()
            except Exception:
                logger.debug("a bucket is not taken yet", exc_info=True)

    def _lane(self, table: str, where: Bucket, schema: pa.Schema, keys: RowKeys | LetterKeys) -> Lane:
        run = self.run
        streams = WriteStreams(self.warehouse, run.operations_dataset, run.run_id, self.patience)

        def check_lease() -> None:
            holders = Leases(self.warehouse, run.operations_dataset).holders([self.lane_name(table)])
            for holder in holders:
                if holder.token != run.token:
                    raise LeaseLost(f"table {holder.table} is being written by run {holder.run_id}")

        return Lane(where, schema, streams, keys, self.horizon, self.committed, check_lease)


class AppendRows(beam.DoFn):
    """((table, bucket), (stamp, rows)) -> (source, Ack) of the part; Refused, which goes on, on `refused`.

    A bucket's parts come one after the other, to one owner: its state is there only for that. What a bundle has for a
    bucket is appended at once: the further behind a stream is, the fewer and larger its requests are.
    """

    REFUSED = "refused"
    ROUTED = ReadModifyWriteStateSpec("routed", BytesCoder())

    def __init__(self, destination: Destination) -> None:
        self._to = destination

    def start_bundle(self) -> None:
        self._held: defaultdict[tuple[str, int], list[tuple[Stamp, pl.DataFrame]]] = defaultdict(list)
        self._rows = 0

    def process(
        self,
        element: tuple[tuple[str, int], tuple[bytes, bytes]],
        routed: object = beam.DoFn.StateParam(ROUTED),  # Beam's way to say it
    ) -> Iterator[tuple[str, bytes] | TaggedOutput[str, Refused]]:
        owner, (packed, ipc) = element
        stamp = msgspec.msgpack.decode(packed, type=Stamp)
        rows = from_ipc(ipc).with_columns(pl.lit(stamp.source).alias(SOURCE))
        self._held[owner].append((stamp, rows))
        self._rows += len(rows)
        if self._rows >= MOST_ROWS:
            for tag, value in self._flush():
                yield TaggedOutput(tag, value) if tag else value

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput[str, WindowedValue]]:
        for tag, value in self._flush():
            windowed = GlobalWindows.windowed_value(value)
            yield TaggedOutput(tag, windowed) if tag else windowed

    def _flush(self) -> Iterator[tuple[str | None, Any]]:
        """Append what is held; tag (None: the main output) and value of what comes out."""
        held = self._held
        self.start_bundle()
        for (name, bucket), parts in held.items():
            rows = pl.concat([rows for _, rows in parts])
            done = self._to.rows_lane(name, bucket).append(rows, functools.partial(self._stored, name))
            start = 0
            for stamp, part in parts:
                yield self._fate(name, bucket, stamp, part, done.part(start, len(part)))
                start += len(part)

    def _fate(
        self, name: str, bucket: int, stamp: Stamp, rows: pl.DataFrame, done: Appended
    ) -> tuple[str | None, object]:
        refused = [
            refusal_of(rows, row, ErrorCode.WAREHOUSE_REJECTED, message) for row, message in done.refused.items()
        ]
        ack = Ack(stamp, bucket, tallies_of(stamp, rows, done))
        if self._to.run.keep_duplicates:
            twice = (done.fates == Fate.DUPLICATE).arg_true()
            refused += [refusal_of(rows, row, ErrorCode.DUPLICATE, DUPLICATE) for row in twice]
        if refused:
            return self.REFUSED, Refused(name, stamp.source, refused, msgspec.msgpack.encode(ack))
        return None, (stamp.source, msgspec.msgpack.encode(ack))

    def _stored(self, name: str, rows: pl.DataFrame, now: datetime) -> pa.RecordBatch:
        stored = rows.with_columns(
            pl.lit(self._to.run.run_id).alias("_run_id"),
            pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias("_ingested_at"),
        )
        schema = arrow_schema(self._to.tables[name])
        return as_batch(stored.select(schema.names).to_arrow().cast(schema))


class AppendLetters(beam.DoFn):
    """(table, Refused) -> (source, Ack) of the part, its dead letters counted in. Those of a bundle are appended
    at once."""

    ROUTED = ReadModifyWriteStateSpec("routed", BytesCoder())

    def __init__(self, destination: Destination) -> None:
        self._to = destination

    def start_bundle(self) -> None:
        self._held: defaultdict[str, list[Refused]] = defaultdict(list)
        self._letters = 0

    def process(
        self,
        element: tuple[str, Refused],
        routed: object = beam.DoFn.StateParam(ROUTED),
    ) -> Iterator[tuple[str, bytes]]:
        name, refused = element
        self._held[name].append(refused)
        self._letters += len(refused.refusals)
        if self._letters >= MOST_LETTERS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for item in self._flush():
            yield GlobalWindows.windowed_value(item)

    def _flush(self) -> Iterator[tuple[str, bytes]]:
        held = self._held
        self.start_bundle()
        for name, parts in held.items():
            self._append(name, parts)
            for refused in parts:
                ack = msgspec.msgpack.decode(refused.ack, type=Ack)
                tallies = with_letters(ack, refused.refusals)
                yield ack.stamp.source, msgspec.msgpack.encode(Ack(ack.stamp, ack.part, tallies))

    def _append(self, name: str, parts: Sequence[Refused]) -> None:
        now = datetime.now(UTC)
        table = pa.concat_tables(
            dead_letters(self._to.tables[name], refused.source, refused.refusals, self._to.run, now)
            for refused in parts
        )
        batch = as_batch(table)
        digests = letter_digests(pl.Series(table.column("dead_letter_id").to_pylist()))
        rows = pl.DataFrame({
            HASH: np.ascontiguousarray(digests[:, 0]), HASH_LOW: np.ascontiguousarray(digests[:, 1]),
            SOURCE: table.column("source").to_pylist(), POSITION: table.column("position").to_pylist(),
            "row": range(len(table)),
        })  # fmt: skip
        done = self._to.letters_lane(name).append(rows, lambda new, _: batch.take(new["row"].to_arrow()))
        if done.refused:
            raise ValueError(f"BigQuery refuses a dead letter: {next(iter(done.refused.values()))}")


def tallies_of(stamp: Stamp, rows: pl.DataFrame, done: Appended) -> tuple[Tally, ...]:
    """By which door the rows of a part left, for each run of its block; those that BigQuery refused by none yet."""
    inside = run_of(rows[POSITION].to_numpy(), stamp.runs)
    fates = done.fates.to_numpy().copy()
    new = fates == Fate.FIRST
    new[list(done.refused)] = False
    written = new | (fates == Fate.SELF)
    tallies = [
        Tally(written=int(w), duplicate=int(d))
        for w, d in zip(
            np.bincount(inside[written], minlength=len(stamp.runs)),
            np.bincount(inside[fates == Fate.DUPLICATE], minlength=len(stamp.runs)),
            strict=True,
        )
    ]
    if new.any():
        at = int(done.written_at.timestamp() * 1000)
        tallies[0].latency = count_latencies(at - rows[TIMESTAMP].to_numpy()[new])
    return tuple(tallies)


def with_letters(ack: Ack, refusals: list[Refusal]) -> tuple[Tally, ...]:
    """The tallies of an Ack with dead letters counted in; copies of duplicates have their door already."""
    counted = [refusal for refusal in refusals if refusal.code is not ErrorCode.DUPLICATE]
    inside: npt.NDArray[np.int64] = run_of(
        np.array([refusal.position for refusal in counted], dtype=np.int64), ack.stamp.runs
    )
    codes: list[Counter[str]] = [Counter() for _ in ack.stamp.runs]
    for run, refusal in zip(inside.tolist(), counted, strict=True):
        codes[run][refusal.code.value] += 1
    for tally, found in zip(ack.tallies, codes, strict=True):
        tally.add(Tally(dead_letter_by_code=dict(found)))
    return ack.tallies


def refusal_of(rows: pl.DataFrame, row: int, code: ErrorCode, message: str) -> Refusal:
    """A row as the refusal of the record that it came from."""
    values = rows.row(row, named=True)
    attributes = {**json.loads(values[ATTRIBUTES]), **envelope_attributes(tuple(values[name] for name in ENVELOPE))}
    return Refusal(values[POSITION], values[RAW], code, message, attributes=attributes)


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """The table as one batch."""
    return table.combine_chunks().to_batches(max_chunksize=max(1, len(table)))[0]
