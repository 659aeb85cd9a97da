"""Fills a stream's table with rows: `python -m benchmarks.streaming.fill DATASET ROWS`, all within the horizon."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl

from benchmarks.streaming.task import TABLE
from connectors.append_stream import AppendStream
from connectors.bigquery_append import as_batch
from connectors.bigquery_load import table_spec
from connectors.clients import write_client
from connectors.patience import Patience
from connectors.warehouse import Warehouse
from contracts.decode import key_digests
from contracts.odcs import shipped
from contracts.schemas import arrow_schema
from local.service import PROJECT

__all__ = ["main"]

BLOCK = 50_000
DEADLINE_SECONDS = 60.0


def main(dataset: str, rows: int) -> None:
    """Append them by the default stream."""
    table = shipped()[TABLE]
    warehouse = Warehouse(PROJECT, "US")
    warehouse.ensure_dataset(dataset)
    warehouse.ensure_table(table_spec(table, dataset))
    schema = arrow_schema(table)
    name = f"projects/{PROJECT}/datasets/{dataset}/tables/{TABLE}"
    stream = AppendStream.default(write_client(), name, schema, Patience(DEADLINE_SECONDS))
    for start in range(0, rows, BLOCK):
        positions = np.arange(start, min(start + BLOCK, rows))
        frame = pl.DataFrame({"event_id": [f"filled-{number:011d}" for number in positions.tolist()]})
        high = np.ascontiguousarray(key_digests(frame, ("event_id",))[:, 0])
        constants = {
            "customer_id": "c", "event_type": "search", "_source": "kafka://filled/0", "_run_id": "filled",
            "event_timestamp": datetime(2026, 1, 1, tzinfo=UTC), "_ingested_at": datetime.now(UTC),
        }  # fmt: skip
        frame = frame.with_columns(
            pl.Series("_position", positions), pl.Series("_hash", high),
            *(pl.lit(value).alias(column) for column, value in constants.items()),
        )  # fmt: skip
        absent = [column for column in schema.names if column not in frame.columns]
        frame = frame.with_columns(pl.lit(None).alias(column) for column in absent)
        stream.append(as_batch(frame.select(schema.names).to_arrow().cast(schema)))
    stream.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
