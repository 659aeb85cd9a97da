"""Where a run writes: its tables, their datasets, and the warehouse that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.bigquery.table_spec import TableSpec
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.statements import lease_condition
from contracts.lineage import INGESTED_AT
from contracts.schemas import bigquery_schema, quote
from contracts.table import Table
from transforms.run import Run

__all__ = ["Destination", "Placed", "table_spec"]


def table_spec(table: Table, dataset: str) -> TableSpec:
    """The BigQuery table of a contract's table.

    By default it is clustered by `_ingested_at`: a stream's start asks for the keys of the last hours, and a batch for
    the rows of its run. In a table of years they read the blocks of that time only, in whatever partition these are.
    """
    return TableSpec(
        dataset,
        table.name,
        tuple(bigquery_schema(table)),
        table.partition,
        table.clustering,
        table.description,
        table.partition_expiration_days,
        table.partition_by.value.upper(),
        table.require_partition_filter,
        default_clustering=(INGESTED_AT,),
    )


class Placed(NamedTuple):
    """A table of a contract and the dataset that it is in."""

    table: Table
    dataset: str


@dataclass(frozen=True)
class Destination:
    """The warehouse as the steps of one run see it: tables by name, and the dataset of each."""

    run: Run
    tables: Mapping[str, Table]
    datasets: Mapping[str, str]
    warehouse: Warehouse
    related: Mapping[str, Placed] = field(default_factory=dict)
    """The tables that relationships refer to, by name. The run need not write them."""

    @property
    def ledger(self) -> LedgerTable:
        """The ledger of the run's operations dataset."""
        return LedgerTable(self.warehouse, self.run.operations_dataset)

    def qualified(self, table: str) -> str:
        """The table as dataset.table: what a lease is about."""
        return f"{self.datasets[table]}.{table}"

    @property
    def leases(self) -> Leases:
        """The leases of the run's operations dataset."""
        return Leases(self.warehouse, self.run.operations_dataset)

    def lease_condition(self, table: str) -> str:
        """The condition that makes a statement fail if the run does not hold the lease of `table`."""
        leases = self.path(self.run.operations_dataset, "leases")
        return lease_condition(leases, self.qualified(table), self.run.token)

    def path(self, dataset: str, table: str) -> str:
        """The quoted path of a table, for SQL."""
        return ".".join(map(quote, (self.warehouse.project, dataset, table)))
