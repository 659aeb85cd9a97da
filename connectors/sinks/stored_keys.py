"""The keys that a table holds, read back from BigQuery by the new owner of a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.write_streams import Bucket
from connectors.google.clients import read_client
from connectors.retry import RetryPolicy
from connectors.shared_calls import SharedCalls
from contracts.changes import TOPIC_ID
from contracts.decoding.decoder import HASH_LOW
from contracts.decoding.key_digest import key_digests, stored_position_digests
from contracts.lineage import HASH, INGESTED_AT, POSITION, SOURCE
from contracts.schemas import any_partition, quote
from contracts.table import Identity, Table
from transforms.anchors import EVERYTHING
from transforms.changes import place_digests

__all__ = ["ChangeKeys", "DeadLetterKeys", "Progress", "RowKeys", "StoredKeys", "dead_letter_digests"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group has come: what the index of a bucket must know."""

    offsets: Mapping[str, int]
    """The committed offset of each source: rows from there on are read whatever their age."""
    anchor: datetime
    """The oldest anchor of the sources, see transforms/anchors.py: the horizon is counted back from it."""


class StoredKeys(ABC):
    """How to read the keys of a bucket back from its table."""

    @abstractmethod
    def read(self, bucket: Bucket, progress: Progress) -> tuple[pl.DataFrame, pl.Series]:
        """Read the bucket's keys, and when each was written.

        The frame has `_hash`, `_hash_low`, `_source` and `_position`, one row for each key. Raises DeadlineExceeded.
        """


@dataclass(frozen=True)
class RowKeys(StoredKeys):
    """The keys of a table of rows: those of the horizon, which is counted back from the anchor."""

    warehouse: Warehouse
    retry: RetryPolicy
    table: Table
    horizon: timedelta
    calls: SharedCalls = field(default_factory=SharedCalls)
    """Those of the process: the buckets that are taken at the same time are read together."""

    def read(self, bucket: Bucket, progress: Progress) -> tuple[pl.DataFrame, pl.Series]:
        about = bucket.dataset, bucket.table, bucket.buckets
        rows = self.calls.result(about, (bucket, progress), self._read)
        return _indexed(rows, self._digests(rows), rows[INGESTED_AT])

    def _read(self, wanted: Sequence[tuple[Bucket, Progress]]) -> list[pl.DataFrame]:
        """Read the rows of several buckets at once: those of each within the widest range of all."""
        bucket, progress = wanted[0][0], _widest([progress for _, progress in wanted])
        filters = any_partition(self.table)
        since = max(progress.anchor - self.horizon, EVERYTHING)
        conditions = [f"_ingested_at >= TIMESTAMP '{since.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00:00}'"]
        conditions += [
            f"(_source = '{source}' AND _position >= {offset})" for source, offset in progress.offsets.items()
        ]
        n = bucket.buckets
        rows = _stored(
            self.warehouse.project,
            self.retry,
            bucket,
            [*self.table.primary_key, HASH, SOURCE, POSITION, INGESTED_AT],
            f"MOD(MOD(_hash, {n}) + {n}, {n}) IN ({', '.join(str(bucket.bucket) for bucket, _ in wanted)})"
            f" AND ({' OR '.join(conditions)})" + "".join(f" AND {each}" for each in filters),
        )
        buckets = (rows[HASH] % n + n) % n
        return [rows.filter(buckets == bucket.bucket) for bucket, _ in wanted]

    def _digests(self, rows: pl.DataFrame) -> Any:
        match self.table.identity:
            case Identity.KEY:
                return key_digests(rows, self.table.primary_key)
            case Identity.POSITION:
                return stored_position_digests(rows, rows[HASH])
            case Identity.RECORD:
                return np.column_stack([rows[HASH].to_numpy(), np.zeros(len(rows), dtype=np.int64)])


@dataclass(frozen=True)
class DeadLetterKeys(StoredKeys):
    """The dead letters of one table at or above the committed offsets: only those records can be read again."""

    warehouse: Warehouse
    retry: RetryPolicy

    def read(self, bucket: Bucket, progress: Progress) -> tuple[pl.DataFrame, pl.Series]:
        table = bucket.lane.rpartition(".")[2]
        rows = _stored(
            self.warehouse.project,
            self.retry,
            bucket,
            ["dead_letter_id", "source", "position", "failed_at"],
            f"{quote('table')} = '{table}' AND ({_above(progress, 'source', 'position')})",
        )
        rows = rows.rename({"source": SOURCE, "position": POSITION})
        return _indexed(rows, dead_letter_digests(rows["dead_letter_id"]), rows["failed_at"])


@dataclass(frozen=True)
class ChangeKeys(StoredKeys):
    """The changes of one bucket at or above the committed offsets: only those records can be read again."""

    warehouse: Warehouse
    retry: RetryPolicy

    def read(self, bucket: Bucket, progress: Progress) -> tuple[pl.DataFrame, pl.Series]:
        n, above = bucket.buckets, _above(progress, SOURCE, POSITION)
        rows = _stored(
            self.warehouse.project,
            self.retry,
            bucket,
            [HASH, SOURCE, POSITION, TOPIC_ID, INGESTED_AT],
            f"MOD(MOD(_hash, {n}) + {n}, {n}) = {bucket.bucket} AND ({above})",
        )
        return _indexed(rows, place_digests(rows), rows[INGESTED_AT])


def _above(progress: Progress, source: str, position: str) -> str:
    """Return the condition that a record is at or above the committed offset of its source."""
    above = [f"({source} = '{name}' AND {position} >= {offset})" for name, offset in progress.offsets.items()]
    return " OR ".join(above) or "FALSE"


def _widest(all_progress: Sequence[Progress]) -> Progress:
    """Return a progress below which no other one needs anything."""
    offsets: dict[str, int] = {}
    for progress in all_progress:
        for source, offset in progress.offsets.items():
            offsets[source] = min(offset, offsets.get(source, offset))
    return Progress(offsets, min(progress.anchor for progress in all_progress))


def dead_letter_digests(ids: pl.Series) -> Any:
    """Return the ids of dead letters (32 hex digits) as two signed 64-bit integers each, shape (n, 2)."""
    joined = b"".join(map(bytes.fromhex, ids))
    return np.frombuffer(joined, dtype=">i8").reshape(-1, 2).astype(np.int64)


def _indexed(rows: pl.DataFrame, digests: Any, written: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    frame = rows.select(SOURCE, POSITION).with_columns(
        pl.Series(HASH, np.ascontiguousarray(digests[:, 0])), pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1]))
    )
    first = frame.select(pl.struct(HASH, HASH_LOW).is_first_distinct()).to_series()
    return frame.filter(first), written.filter(first)


def _stored(project: str, retry: RetryPolicy, bucket: Bucket, columns: list[str], restriction: str) -> pl.DataFrame:
    """Read rows of a table by the Storage Read API. Raises DeadlineExceeded."""
    client = read_client()
    request = types.ReadSession(
        table=f"projects/{project}/datasets/{bucket.dataset}/tables/{bucket.table}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=columns, row_restriction=restriction),
    )

    def read() -> pa.Table:
        session = client.create_read_session(
            parent=f"projects/{project}", read_session=request, retry=None, timeout=retry.call_timeout
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        batches = [
            pa.ipc.read_record_batch(pa.py_buffer(page.arrow_record_batch.serialized_record_batch), schema)
            for stream in session.streams
            for page in client.read_rows(stream.name, retry=None, timeout=retry.deadline)
            if page.arrow_record_batch.serialized_record_batch
        ]
        return pa.Table.from_batches(batches, schema)

    frame = pl.from_arrow(retry.call(f"BigQuery refuses to read {bucket.dataset}.{bucket.table}", read))
    assert isinstance(frame, pl.DataFrame)
    return frame.select(columns)
