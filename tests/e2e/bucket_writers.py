"""A table `events` and the owners of its one bucket, for tests of who may append to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from google.cloud.bigquery import SchemaField

from connectors.bigquery.clock import BigQueryClock
from connectors.bigquery.table_spec import TableSpec
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.write_streams import Bucket, WriteStreams
from connectors.retry import RetryPolicy
from connectors.sinks.append import as_batch
from connectors.sinks.bucket_writer import BucketWriter
from connectors.sinks.stored_keys import Progress, RowKeys
from contracts.decoding.decoder import HASH_LOW
from contracts.decoding.key_digest import key_digests
from contracts.lineage import HASH, POSITION, SOURCE
from contracts.table import Column, Kind, Table
from transforms.deduplicate import Outcome
from transforms.metrics import MetricValues

__all__ = [
    "DUPLICATE",
    "FIRST",
    "HORIZON",
    "REDELIVERED",
    "SCHEMA",
    "A",
    "append",
    "events_spec",
    "owner",
    "rows_at",
    "stored",
]

A = "kafka://t/0"
HORIZON = timedelta(hours=24)
_FIELDS: list[pa.Field[pa.DataType]] = [
    pa.field("id", pa.string()),
    pa.field(HASH, pa.int64()),
    pa.field(SOURCE, pa.string()),
    pa.field(POSITION, pa.int64()),
    pa.field("_ingested_at", pa.timestamp("us", "UTC")),
]
SCHEMA = pa.schema(_FIELDS)
FIRST, DUPLICATE, REDELIVERED = Outcome.FIRST.value, Outcome.DUPLICATE.value, Outcome.REDELIVERED.value


def events_spec(dataset: str) -> TableSpec:
    """The table."""
    kinds = {"id": "STRING", HASH: "INTEGER", SOURCE: "STRING", POSITION: "INTEGER", "_ingested_at": "TIMESTAMP"}
    return TableSpec(dataset, "events", tuple(SchemaField(*one) for one in kinds.items()))


def owner(
    warehouse: Warehouse,
    dataset: str,
    run_id: str,
    retry: RetryPolicy,
    horizon: timedelta = HORIZON,
    committed: Callable[[], Mapping[str, int]] = dict,
    check: Callable[[], None] = lambda: None,
    *,
    lost: Callable[[], None] = lambda: None,
    anchor: Callable[[], datetime] | None = None,
    clock: Callable[[], datetime] | None = None,
) -> BucketWriter:
    """An owner of the bucket. By default its sources have nothing left to read: the anchor is now."""
    clock = clock or BigQueryClock.of(warehouse).now
    anchor = anchor or clock
    streams = WriteStreams(warehouse, dataset, run_id, retry)
    bucket = Bucket(dataset, "events", f"{dataset}.events", 1, 0)
    table = Table("events", (Column("id", Kind.STRING, required=True),), ("id",))
    keys = RowKeys(warehouse, retry, table, horizon)
    return BucketWriter(
        bucket,
        SCHEMA,
        streams,
        keys,
        horizon,
        lambda: Progress(committed(), anchor()),
        lost,
        check,
        clock=clock,
        metrics=MetricValues(),
    )


def rows_at(positions: dict[int, str], source: str = A) -> pl.DataFrame:
    """Rows as a bucket writer takes them: keys by position."""
    frame = pl.DataFrame({"id": list(positions.values())}, schema={"id": pl.String})
    digests = key_digests(frame, ["id"])
    return frame.with_columns(
        pl.Series(HASH, np.ascontiguousarray(digests[:, 0])),
        pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1])),
        pl.lit(source).alias(SOURCE),
        pl.Series(POSITION, list(positions), dtype=pl.Int64),
    )


def stored(rows: pl.DataFrame, now: datetime) -> pa.RecordBatch:
    """What is appended of them."""
    at = pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias("_ingested_at")
    return as_batch(rows.with_columns(at).select(SCHEMA.names).to_arrow().cast(SCHEMA))


def append(lane: BucketWriter, positions: dict[int, str], source: str = A) -> list[int]:
    """Append rows of which none is refused; the fates."""
    done = lane.append(rows_at(positions, source), stored)
    assert not done.refused
    return done.outcomes.to_list()
