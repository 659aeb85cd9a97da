"""The real graph of a batch over a local folder, with a warehouse in memory at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl

from connectors.bigquery.warehouse import Warehouse
from connectors.files.names import belonging
from connectors.files.storage import Storage
from connectors.sinks.destination import Destination
from contracts.table import Table
from pipelines.batch.graph import Batch
from tests.graphs.eager import local_pipeline
from tests.graphs.memory import Shared
from tests.runs import RUN
from transforms.ledger import Balance

__all__ = ["RUN", "Loaded", "batch_over", "run_batch"]


@dataclass(eq=False)
class Loaded(Shared):
    """What a run brings to its warehouse: `rows` by table if it may load, and its dead letters in any case."""

    balances: list[Balance] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)

    def load(self, balance: Balance) -> None:
        """Take a balance, as LoadTables does."""
        self.balances.append(balance)
        for file in balance.dead_letter_files:
            self.dead_letters += pl.read_parquet(file.uri).to_dicts()
        if balance.state is None:
            for table, shards in balance.shards.items():
                self.rows[table] = [row for shard in shards for row in pl.read_parquet(shard.uri).to_dicts()]

    @property
    def balance(self) -> Balance:
        """The run's only balance."""
        (balance,) = self.balances
        return balance

    def doors(self, table: str) -> tuple[int, int, int, int]:
        """Records of a table: read, staged, duplicate, dead letter."""
        counts = self.balance.counts[table].values()
        return (
            sum(each.read for each in counts),
            sum(each.written for each in counts),
            sum(each.duplicate for each in counts),
            sum(each.dead_letter for each in counts),
        )


def batch_over(folder: Path, tables: Mapping[str, Table], **settings: Any) -> Batch:
    """A batch over the files in `folder`; `settings` are fields of its Run."""
    files = belonging(Storage().scan(str(folder)), str(folder), list(tables)).files
    run = replace(RUN, processed=f"{folder}_out/processed", dead_letters=f"{folder}_out/dead_letters", **settings)
    destination = Destination(run, tables, dict.fromkeys(tables, "dataset"), Warehouse("project", "US"))
    return Batch.between(tuple(files), Storage(), destination)


def run_batch(batch: Batch, workers: int = 1) -> Loaded:
    """Run the batch, with a warehouse in memory as its last end. It fails if the run does not reach that end once."""
    loaded = Loaded()
    with local_pipeline(workers) as pipeline:
        replace(batch, load=beam.Map(loaded.load)).build(pipeline)
    assert len(loaded.balances) == 1, "the warehouse's end was not reached"
    return loaded
