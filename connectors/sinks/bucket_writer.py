"""Bucket writers: a bucket that this process owns, with its write stream and the index of the keys in its table.

A process has one writer for each bucket, not one for each DoFn instance, because a runner moves keys between instances.
Under its lock a writer decides which rows are new, appends them, and only then adds them to its index. BigQuery is the
truth and the index its cache, which the next owner of the bucket rebuilds from the table.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from connectors.bigquery.append_reply import Rejected
from connectors.bigquery.append_stream import AppendStream, StreamLost
from connectors.bookkeeping.write_streams import Bucket, WriteStreams
from connectors.google.clients import write_client
from connectors.retry import DeadlineExceeded
from connectors.sinks.stored_keys import Progress, StoredKeys
from contracts.bisect import bisect
from contracts.lineage import POSITION, SOURCE
from contracts.refusal import ErrorCode
from transforms import waits
from transforms.deduplicate import CONTENT, Comparison, Outcome, compare, decide
from transforms.key_index import KeyIndex
from transforms.metrics import BUCKET_TAKES, INDEX_KEYS, MetricValues

__all__ = ["Appended", "BucketWriter", "Writer"]

MAX_TAKES = 10
"""How often in a row a bucket may be lost during one append."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
"""The longest pause before a lost bucket is taken again: the first time, and in the end."""
ENCODING_ERRORS: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
"""What the encoding of a value can raise."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of an append."""

    outcomes: pl.Series
    """The Outcome of each row, as Int8."""
    refused: Mapping[int, Rejected]
    """Why rows could not be written, by index."""
    written_at: datetime
    compared: pl.Series
    """The Comparison of each row, as Int8; SAME if the rows have no `_content`."""

    def part(self, start: int, rows: int) -> Appended:
        """The result of `rows` rows from `start` on."""
        refused = {row - start: reason for row, reason in self.refused.items() if start <= row < start + rows}
        return Appended(self.outcomes.slice(start, rows), refused, self.written_at, self.compared.slice(start, rows))


class Writer(Protocol):
    """Appends rows to one bucket."""

    def append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        """Write those of `rows` whose key is new, see BucketWriter."""
        ...


class BucketWriter:
    """One bucket, owned by this process until another one takes it."""

    def __init__(
        self,
        bucket: Bucket,
        schema: pa.Schema,
        streams: WriteStreams,
        keys: StoredKeys,
        horizon: timedelta,
        progress: Callable[[], Progress],
        lost: Callable[[], None],
        check: Callable[[], None],
        *,
        clock: Callable[[], datetime],
        metrics: MetricValues,
    ) -> None:
        """`schema` is the schema of what is appended. `lost` raises if the run may no longer write; it is called before
        the bucket is taken, and before the table is read. `check` raises if the table does not fit; it is called before
        a row is treated as refused that BigQuery does not name. `progress` is asked when the bucket is taken.
        `clock` is BigQuery's.
        """
        self._bucket, self._schema, self._streams = bucket, schema, streams
        self._keys, self._horizon = keys, horizon
        self._progress, self._lost, self._check = progress, lost, check
        self._clock = clock
        self._metrics = metrics
        self._client: BigQueryWriteClient | None = None
        self._lock = threading.Lock()
        self._stream: AppendStream | None = None
        self._index = KeyIndex(horizon)
        self._known_from: dict[str, int] = {}
        """For each source the offset from which on every row of the table is in the index."""

    def take(self) -> None:
        """Become the owner before there is anything to append, if we are not the owner yet. Raises as `append` does."""
        with self._lock:
            if self._stream is None:
                self._take({})

    def append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        """Write the rows whose key is new; `rows` as for `decide`, in order, with `_content` to compare duplicates.

        `stored(rows, now)` returns what to append. A row for which it raises is refused, and so is a row that BigQuery
        does not take. Raises DeadlineExceeded if BigQuery does not answer before the deadline.
        """
        with self._lock:
            try:
                return self._append_as_owner(rows, stored)
            finally:
                waits.over(self)

    def _append_as_owner(
        self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]
    ) -> Appended:
        """Append, and take the bucket again if it is lost."""
        for take in range(MAX_TAKES):
            try:
                return self._append(rows, stored)
            except StreamLost as lost:
                self._forget()
                waits.failed(self, f"another owner takes a bucket of {self._bucket.lane}", str(lost))
                # Two owners that take a bucket at the same moment finalize each other's stream: let one be first.
                time.sleep(random.random() * min(PAUSE_SECONDS * 2**take, LONGEST_PAUSE_SECONDS))
            except BaseException:
                self._forget()  # what is stored is unknown: the next append takes the bucket again
                raise
        raise DeadlineExceeded(f"bucket {self._bucket} was taken by another owner {MAX_TAKES} times in a row")

    def _append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        stream, outcomes = self._decide(rows)
        now = self._clock()
        refused: dict[int, Rejected] = {}
        new = (outcomes == Outcome.FIRST).arg_true()
        while len(new):
            fresh = rows[new]
            bad = _write(stream, fresh, now, stored, self._check)
            self._index.add(fresh if not bad else fresh[np.setdiff1d(np.arange(len(fresh)), list(bad))], now)
            refused |= {int(new[row]): reason for row, reason in bad.items()}
            if not bad:
                self._report_size()
                break
            # A row with the key of a refused row is no longer a duplicate.
            others = (outcomes == Outcome.DUPLICATE).arg_true()
            new = others.filter(decide(rows[others], self._index) == Outcome.FIRST)
            outcomes[new] = Outcome.FIRST.value
        same = outcomes.clear(len(outcomes)).fill_null(Comparison.SAME.value)
        compared = compare(rows, outcomes, self._index) if CONTENT in rows.columns else same
        return Appended(outcomes, refused, now, compared)

    def _decide(self, rows: pl.DataFrame) -> tuple[AppendStream, pl.Series]:
        """Return our stream, and the Outcome of each row.

        A row that looks new may be in the table already if its offset is outside the range that the index knows: an
        engine that recovers reads again from its checkpoint, which may be older than the last committed offset or than
        the horizon. In that case the table is read again, from that row on.
        """
        stream = self._stream or self._take(_lowest(rows))
        outcomes = decide(rows, self._index)
        for source, position in _lowest(rows.select(SOURCE, POSITION).filter(outcomes == Outcome.FIRST)).items():
            if position < max(self._known_from.get(source, 0), self._index.forgotten.get(source, -1) + 1):
                self._forget()
                stream = self._take(_lowest(rows))
                return stream, decide(rows, self._index)
        return stream, outcomes

    def _take(self, lowest: Mapping[str, int]) -> AppendStream:
        """Become the owner, and read the table's keys into the index: for each source all keys from `lowest` on."""
        self._lost()
        self._client = self._client or write_client()
        stream = self._streams.take(self._client, self._bucket, self._schema)
        self._lost()  # a run that took the lease before our stream was entered has not finalized it
        progress = self._progress()
        committed = progress.offsets
        self._known_from = {**committed, **{s: min(at, committed.get(s, at)) for s, at in lowest.items()}}
        known, written = self._keys.read(self._bucket, replace(progress, offsets=self._known_from))
        index = KeyIndex(self._horizon)
        index.restore(known, written, self._clock())
        self._index, self._stream = index, stream
        self._metrics.count(BUCKET_TAKES, 1, self._bucket.table, self._bucket.lane)
        self._report_size()
        return stream

    def _report_size(self) -> None:
        bucket = self._bucket
        self._metrics.gauge(INDEX_KEYS, len(self._index), bucket.table, bucket.lane, str(bucket.bucket))

    def close(self) -> None:
        """Drop the connections, unless an append is in progress. The bucket stays ours until another owner takes it."""
        if self._lock.acquire(blocking=False):
            try:
                self._forget()
                if self._client:
                    self._client.transport.close()
            finally:
                self._lock.release()

    def _forget(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None


def _write(
    stream: AppendStream,
    rows: pl.DataFrame,
    now: datetime,
    stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch],
    check: Callable[[], None],
) -> dict[int, Rejected]:
    """Append `rows`; return why some are refused, by index. All others are stored.

    If `stored` raises, the rows are halved until each row that it raises for is alone.
    """

    def encoded(part: Sequence[int]) -> tuple[int, pa.RecordBatch]:
        return part[0], stored(rows.slice(part[0], len(part)), now)

    batches, failures = bisect(range(len(rows)), encoded, ENCODING_ERRORS)
    refused = {row: Rejected(ErrorCode.WAREHOUSE_REJECTED, f"no row of the table: {error}") for row, error in failures}
    for start, batch in batches:
        refused |= {start + row: reason for row, reason in stream.append(batch, check).items()}
    return refused


def _lowest(rows: pl.DataFrame) -> dict[str, int]:
    """Return the lowest position of each source."""
    return dict(rows.group_by(SOURCE).agg(pl.col(POSITION).min()).iter_rows())
