"""Fill a stream's table with rows: `python -m benchmarks.streaming.fill DATASET ROWS`, all within the horizon."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl

from benchmarks.streaming.task import TABLE
from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.warehouse import Warehouse
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from connectors.sinks.append import as_batch
from connectors.sinks.destination import table_spec
from contracts.decoding.key_digest import key_digests
from contracts.lineage import HASH, INGESTED_AT, POSITION, RUN_ID, SOURCE
from contracts.odcs.tables import shipped
from contracts.schemas import arrow_schema
from local.service import PROJECT

__all__ = ["main"]

BLOCK = 50_000
DEADLINE_SECONDS = 60.0


def main(dataset: str, rows: int) -> None:
    """Append the rows by the default stream."""
    table = shipped()[TABLE]
    warehouse = Warehouse(PROJECT, "US")
    warehouse.ensure_dataset(dataset)
    warehouse.ensure_table(table_spec(table, dataset))
    schema = arrow_schema(table)
    name = f"projects/{PROJECT}/datasets/{dataset}/tables/{TABLE}"
    stream = AppendStream.default(write_client(), name, schema, RetryPolicy(DEADLINE_SECONDS))
    for start in range(0, rows, BLOCK):
        positions = np.arange(start, min(start + BLOCK, rows))
        frame = pl.DataFrame({"event_id": [f"filled-{number:011d}" for number in positions.tolist()]})
        high = np.ascontiguousarray(key_digests(frame, ("event_id",))[:, 0])
        constants = {
            "customer_id": "c",
            "event_type": "search",
            SOURCE: "kafka://filled/0",
            RUN_ID: "filled",
            "event_timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            INGESTED_AT: datetime.now(UTC),
        }
        frame = frame.with_columns(
            pl.Series(POSITION, positions),
            pl.Series(HASH, high),
            *(pl.lit(value).alias(column) for column, value in constants.items()),
        )
        empty = [column for column in schema.names if column not in frame.columns]
        frame = frame.with_columns(pl.lit(None).alias(column) for column in empty)
        stream.append(as_batch(frame.select(schema.names).to_arrow().cast(schema)))
    stream.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
