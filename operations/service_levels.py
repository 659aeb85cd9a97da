"""Measure the service levels of contracts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.api_core.exceptions import ClientError

from connectors.bigquery.warehouse import Warehouse
from contracts.schemas import quote
from contracts.service_levels import Measured, measured_level, service_level_query
from contracts.table import ServiceLevel, Table

__all__ = ["measured_levels"]

MAX_MESSAGE = 300


def measured_levels(warehouse: Warehouse, tables: Iterable[Table], datasets: Mapping[str, str]) -> list[Measured]:
    """Return what became of each level of the tables. Raises the errors of BigQuery that are not about a statement."""
    return [
        _measured(warehouse, table, datasets[table.name], level) for table in tables for level in table.service_levels
    ]


def _measured(warehouse: Warehouse, table: Table, dataset: str, level: ServiceLevel) -> Measured:
    if level.problem:
        return Measured(table.name, level, None, level.problem)
    path = ".".join(map(quote, (warehouse.project, dataset, table.name)))
    try:
        return measured_level(table.name, level, warehouse.query(service_level_query(table, path, level)))
    except ClientError as error:
        return Measured(table.name, level, None, " ".join(str(error).split())[:MAX_MESSAGE])
