"""This project's batch pipeline, from the pinned file to Parquet shards and dead-letter files, with DirectRunner."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq

from connectors.bigquery.warehouse import Warehouse
from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.sinks.destination import Destination
from contracts.odcs.tables import shipped
from contracts.table import Table
from pipelines.batch.direct import on_this_machine
from pipelines.batch.graph import Batch
from pipelines.engines.fork_server import ForkServer, fork_server
from pipelines.engines.worker import work
from transforms.ledger import Balance
from transforms.run import Run

__all__ = ["run", "run_table", "server"]

TABLE = "user_events"


def server(workers: int) -> AbstractContextManager[ForkServer]:
    """Return a server of that many workers; enter it before the process has threads."""
    return fork_server(workers, work)


def run(source: Path, folder: Path, server: ForkServer | None = None) -> None:
    """Run from the events in `source` to `processed/` and `dead_letters/`. ValueError if the ledger is broken.

    With a server in as many processes as it can start, else in this one.
    """
    run_table(shipped()[TABLE], source, folder, server)


def run_table(table: Table, source: Path, folder: Path, server: ForkServer | None = None) -> int:
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
    batch = replace(batch, load=beam.Map(_check))
    with (
        on_this_machine(batch, server.most if server else 1, server, _say_nothing) as (whole, runner),
        beam.Pipeline(runner=runner) as pipeline,
    ):
        whole.build(pipeline)
    stored = (folder / "processed").glob("**/*.parquet")
    return sum(pq.ParquetFile(file).metadata.num_rows for file in stored)


def _say_nothing(_line: str) -> None:
    """Log nothing."""


def _check(balance: Balance) -> None:
    if balance.state is not None:
        raise ValueError(balance.explain())
