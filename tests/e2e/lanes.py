"""A table `events` and the owners of its one bucket, for tests of who may append to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from google.cloud.bigquery import SchemaField

from connectors.bigquery_append import as_batch
from connectors.lanes import Lane, RowKeys
from connectors.patience import Patience
from connectors.warehouse import TableSpec, Warehouse
from connectors.write_streams import Bucket, WriteStreams
from contracts.decode import HASH, HASH_LOW, POSITION, key_digests
from transforms.deduplicate import SOURCE, Fate

__all__ = [
    "DUPLICATE",
    "FIRST",
    "HORIZON",
    "SCHEMA",
    "SELF",
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
    pa.field("id", pa.string()), pa.field(HASH, pa.int64()), pa.field(SOURCE, pa.string()),
    pa.field(POSITION, pa.int64()), pa.field("_ingested_at", pa.timestamp("us", "UTC")),
]  # fmt: skip
SCHEMA = pa.schema(_FIELDS)
FIRST, DUPLICATE, SELF = Fate.FIRST.value, Fate.DUPLICATE.value, Fate.SELF.value


def events_spec(dataset: str) -> TableSpec:
    """The table."""
    kinds = {"id": "STRING", HASH: "INTEGER", SOURCE: "STRING", POSITION: "INTEGER", "_ingested_at": "TIMESTAMP"}
    return TableSpec(dataset, "events", tuple(SchemaField(*one) for one in kinds.items()))


def owner(
    warehouse: Warehouse, dataset: str, run_id: str, patience: Patience, horizon: timedelta = HORIZON,
    committed: Callable[[], Mapping[str, int]] = dict,
) -> Lane:  # fmt: skip
    """An owner of the bucket."""
    streams = WriteStreams(warehouse, dataset, run_id, patience)
    bucket = Bucket(dataset, "events", f"{dataset}.events", 1, 0)
    keys = RowKeys(warehouse, patience, ("id",), horizon)
    return Lane(bucket, SCHEMA, streams, keys, horizon, committed, lambda: None)


def rows_at(positions: dict[int, str], source: str = A) -> pl.DataFrame:
    """Rows as a lane takes them: keys by position."""
    frame = pl.DataFrame({"id": list(positions.values())}, schema={"id": pl.String})
    digests = key_digests(frame, ["id"])
    return frame.with_columns(
        pl.Series(HASH, np.ascontiguousarray(digests[:, 0])), pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1])),
        pl.lit(source).alias(SOURCE), pl.Series(POSITION, list(positions), dtype=pl.Int64),
    )  # fmt: skip


def stored(rows: pl.DataFrame, now: datetime) -> pa.RecordBatch:
    """What is appended of them."""
    at = pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias("_ingested_at")
    return as_batch(rows.with_columns(at).select(SCHEMA.names).to_arrow().cast(SCHEMA))


def append(lane: Lane, positions: dict[int, str], source: str = A) -> list[int]:
    """Append rows of which none is refused; the fates."""
    done = lane.append(rows_at(positions, source), stored)
    assert not done.refused
    return done.fates.to_list()
