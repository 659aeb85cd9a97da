"""This project's batch pipeline, from the pinned file to Parquet shards and dead-letter files, on FnApiRunner."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.bigquery.warehouse import Warehouse
from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.sinks.destination import Destination
from contracts.odcs.tables import shipped
from contracts.table import Table
from pipelines.batch.graph import Batch
from transforms.ledger import Balance
from transforms.run import Run

__all__ = ["run", "run_table"]

TABLE = "user_events"


def run(source: Path, folder: Path) -> None:
    """Run from the events in `source` to `processed/` and `dead_letters/`. ValueError if the ledger is broken."""
    run_table(shipped()[TABLE], source, folder)


def run_table(table: Table, source: Path, folder: Path) -> int:
    """Run one file of a table as `run` does; return the number of its clean records."""
    status = source.stat()
    file = InputFile(table.name, str(source), status.st_size, status.st_mtime_ns)
    constants = Run(
        run_id="bench",
        token="bench",
        pipeline="batch",
        started_at=datetime.now(UTC),
        project="",
        location="",
        operations_dataset="",
        processed=str(folder / "processed"),
        dead_letters=str(folder / "dead_letters"),
        max_record_bytes=10_000_000,
        max_dead_letter_ratio=0.2,
    )
    destination = Destination(constants, {table.name: table}, {table.name: ""}, Warehouse("", ""))
    batch = Batch.between((file,), Storage(), destination)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        replace(batch, load=beam.Map(_check)).build(pipeline)
    stored = (folder / "processed").glob("**/*.parquet")
    return sum(pq.ParquetFile(file).metadata.num_rows for file in stored)


def _check(balance: Balance) -> None:
    if balance.state is not None:
        raise ValueError(balance.explain())
