"""Lanes: the buckets that this process owns, each with its write stream and the index of the keys in its table.

A lane lives once a process, not once a DoFn instance, for a runner moves keys between instances. Under its lock a
lane decides which rows are new, appends them, and only then enters them in its index: BigQuery is the truth, the
index is its cache, rebuilt from the table by whoever takes the bucket.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types

from connectors.append_stream import AppendStream, StreamLost
from connectors.clients import read_client, write_client
from connectors.patience import NoAnswer, Patience
from connectors.warehouse import Warehouse
from connectors.write_streams import Bucket, WriteStreams
from contracts.decode import HASH, HASH_LOW, POSITION, key_digests
from contracts.schemas import quote
from transforms.deduplicate import SOURCE, Fate, decide
from transforms.key_index import KeyIndex
from transforms.metrics import BUCKET_TAKES, INDEX_KEYS, count, gauge

__all__ = ["Appended", "Keys", "Lane", "LetterKeys", "RowKeys", "lane_of"]

MAX_TAKES = 10
"""How often in a row a bucket may be lost before one append is done."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
"""At most so long before a lost bucket is taken again: at first, and in the end."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of rows: the fate of each, why BigQuery refused some (by index), and when the others were written."""

    fates: pl.Series
    refused: Mapping[int, str]
    written_at: datetime

    def part(self, start: int, rows: int) -> Appended:
        """The same of `rows` rows from `start` on."""
        refused = {row - start: message for row, message in self.refused.items() if start <= row < start + rows}
        return Appended(self.fates.slice(start, rows), refused, self.written_at)


class Keys(ABC):
    """How the keys that a table holds are read back from it."""

    @abstractmethod
    def read(self, bucket: Bucket, known_from: Mapping[str, int]) -> tuple[pl.DataFrame, pl.Series]:
        """What is known of the bucket: `_hash`, `_hash_low`, `_source`, `_position`, keys distinct; and written when.

        `known_from` has the offset of each source from which on rows are known whatever their age.
        """


@dataclass(frozen=True)
class RowKeys(Keys):
    """The keys of a table of rows, as far back as the horizon, counted from the newest row in the table."""

    warehouse: Warehouse
    patience: Patience
    primary_key: tuple[str, ...]
    horizon: timedelta

    def read(self, bucket: Bucket, known_from: Mapping[str, int]) -> tuple[pl.DataFrame, pl.Series]:
        table = f"`{self.warehouse.project}`.`{bucket.dataset}`.`{bucket.table}`"
        newest = self.warehouse.query(f"SELECT MAX(_ingested_at) AS newest FROM {table}")[0]["newest"]
        since = (newest or datetime.now(UTC)) - self.horizon
        wanted = [f"_ingested_at >= TIMESTAMP '{since.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00:00}'"]
        wanted += [f"(_source = '{source}' AND _position >= {offset})" for source, offset in known_from.items()]
        n = bucket.buckets
        rows = _stored(
            self.warehouse.project, self.patience, bucket, [*self.primary_key, SOURCE, POSITION, "_ingested_at"],
            f"MOD(MOD(_hash, {n}) + {n}, {n}) = {bucket.bucket} AND ({' OR '.join(wanted)})",
        )  # fmt: skip
        return _indexed(rows, key_digests(rows, self.primary_key), rows["_ingested_at"])


@dataclass(frozen=True)
class LetterKeys(Keys):
    """The dead letters of one table that lie at or above the committed offsets: only those can be met again."""

    warehouse: Warehouse
    patience: Patience

    def read(self, bucket: Bucket, known_from: Mapping[str, int]) -> tuple[pl.DataFrame, pl.Series]:
        above = [f"(source = '{source}' AND position >= {offset})" for source, offset in known_from.items()]
        table = bucket.lane.rpartition(".")[2]
        rows = _stored(
            self.warehouse.project, self.patience, bucket, ["dead_letter_id", "source", "position", "failed_at"],
            f"{quote('table')} = '{table}' AND ({' OR '.join(above) or 'FALSE'})",
        )  # fmt: skip
        rows = rows.rename({"source": SOURCE, "position": POSITION})
        return _indexed(rows, letter_digests(rows["dead_letter_id"]), rows["failed_at"])


def letter_digests(ids: pl.Series) -> Any:
    """Dead letters' ids (32 hex digits) as two signed 64-bit integers each, shape (n, 2)."""
    joined = b"".join(bytes.fromhex(one) for one in ids)
    return np.frombuffer(joined, dtype=">i8").reshape(-1, 2).astype(np.int64)


def _indexed(rows: pl.DataFrame, digests: Any, written: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    frame = rows.select(SOURCE, POSITION).with_columns(
        pl.Series(HASH, np.ascontiguousarray(digests[:, 0])), pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1]))
    )
    first = frame.select(pl.struct(HASH, HASH_LOW).is_first_distinct()).to_series()
    return frame.filter(first), written.filter(first)


def _stored(project: str, patience: Patience, bucket: Bucket, columns: list[str], restriction: str) -> pl.DataFrame:
    """Rows of a table as it is now, by the Storage Read API. Raises NoAnswer."""
    client = read_client()
    wanted = types.ReadSession(
        table=f"projects/{project}/datasets/{bucket.dataset}/tables/{bucket.table}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=columns, row_restriction=restriction),
    )

    def read() -> pa.Table:
        session = client.create_read_session(
            parent=f"projects/{project}", read_session=wanted, retry=None, timeout=patience.answer
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        batches = [
            pa.ipc.read_record_batch(pa.py_buffer(page.arrow_record_batch.serialized_record_batch), schema)
            for stream in session.streams
            for page in client.read_rows(stream.name, retry=None, timeout=patience.deadline)
            if page.arrow_record_batch.serialized_record_batch
        ]
        return pa.Table.from_batches(batches, schema)

    frame = pl.from_arrow(patience.ask(read))
    assert isinstance(frame, pl.DataFrame)
    return frame.select(columns)


class Lane:
    """One bucket, owned by this process until another one takes it."""

    def __init__(
        self, bucket: Bucket, schema: pa.Schema, streams: WriteStreams, keys: Keys, horizon: timedelta,
        committed: Callable[[], Mapping[str, int]], lost: Callable[[], None],
    ) -> None:  # fmt: skip
        """`schema` is of what is appended. `lost` raises if the run may not write any more; asked before a bucket
        is taken."""
        self._bucket, self._schema, self._streams = bucket, schema, streams
        self._keys, self._horizon = keys, horizon
        self._committed, self._lost = committed, lost
        self._client: BigQueryWriteClient | None = None
        self._lock = threading.Lock()
        self._stream: AppendStream | None = None
        self._index = KeyIndex(horizon)
        self._known_from: dict[str, int] = {}
        """Of each source the offset from which on every row in the table is in the index."""

    def take(self) -> None:
        """Become the owner before there is anything to append, if we are not yet. Raises as `append` does."""
        with self._lock:
            if self._stream is None:
                self._take({})

    def append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        """Write those of `rows` whose key is new; `rows` as `decide` takes them, in order.

        `stored(rows, now)` makes what is appended. Raises NoAnswer where BigQuery does not answer until the deadline.
        """
        with self._lock:
            for take in range(MAX_TAKES):
                try:
                    return self._append(rows, stored)
                except StreamLost:
                    self._forget()
                    # Two that take a bucket at the same moment end each other's stream: let one be first.
                    time.sleep(random.random() * min(PAUSE_SECONDS * 2**take, LONGEST_PAUSE_SECONDS))
                except BaseException:
                    self._forget()  # nobody knows what is in: the next append takes the bucket again
                    raise
            raise NoAnswer(f"bucket {self._bucket} was taken by another owner {MAX_TAKES} times in a row")

    def _append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        stream, fates = self._decide(rows)
        now = datetime.now(UTC)
        refused: dict[int, str] = {}
        new = (fates == Fate.FIRST).arg_true()
        while len(new):
            fresh = rows[new]
            bad = stream.append(stored(fresh, now))
            self._index.add(fresh if not bad else fresh[np.setdiff1d(np.arange(len(fresh)), list(bad))], now)
            refused |= {int(new[row]): message for row, message in bad.items()}
            if not bad:
                self._tell_size()
                break
            # What had the same key as a refused row is no duplicate of anything.
            others = (fates == Fate.DUPLICATE).arg_true()
            new = others.filter(decide(rows[others], self._index) == Fate.FIRST)
            fates[new] = Fate.FIRST.value
        return Appended(fates, refused, now)

    def _decide(self, rows: pl.DataFrame) -> tuple[AppendStream, pl.Series]:
        """Our stream, and the fate of each row.

        A row that looks new, but lies where the index does not know all that the table holds, may be there already:
        an engine that recovers reads again from its checkpoint, which may be older than the last committed offset
        or than the horizon. Then the table is read again, from that row on.
        """
        stream = self._stream or self._take(_lowest(rows))
        fates = decide(rows, self._index)
        for source, position in _lowest(rows.select(SOURCE, POSITION).filter(fates == Fate.FIRST)).items():
            if position < max(self._known_from.get(source, 0), self._index.forgotten.get(source, -1) + 1):
                self._forget()
                stream = self._take(_lowest(rows))
                return stream, decide(rows, self._index)
        return stream, fates

    def _take(self, lowest: Mapping[str, int]) -> AppendStream:
        """Become the owner, with the table's rows in the index, those of sources from `lowest` on without exception."""
        self._lost()
        self._client = self._client or write_client()
        stream = self._streams.take(self._client, self._bucket, self._schema)
        committed = self._committed()
        self._known_from = {**committed, **{s: min(at, committed.get(s, at)) for s, at in lowest.items()}}
        known, written = self._keys.read(self._bucket, self._known_from)
        index = KeyIndex(self._horizon)
        index.restore(known, written, datetime.now(UTC))
        self._index, self._stream = index, stream
        count(BUCKET_TAKES, 1, self._bucket.table, self._bucket.lane)
        self._tell_size()
        return stream

    def _tell_size(self) -> None:
        gauge(INDEX_KEYS, len(self._index), self._bucket.table, self._bucket.lane, str(self._bucket.bucket))

    def _forget(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None


def _lowest(rows: pl.DataFrame) -> dict[str, int]:
    """The lowest position of each source."""
    return dict(rows.group_by(SOURCE).agg(pl.col(POSITION).min()).iter_rows())


_lanes: dict[tuple[str, Bucket], Lane] = {}
_lanes_lock = threading.Lock()


def lane_of(token: str, bucket: Bucket, make: Callable[[], Lane]) -> Lane:
    """This process's lane of `bucket` for the launch that `token` names; made on first use."""
    with _lanes_lock:
        for other in [key for key in _lanes if key[0] != token]:
            del _lanes[other]  # of a launch that has ended
        found = _lanes.get((token, bucket))
        if found is None:
            found = _lanes[token, bucket] = make()
        return found
