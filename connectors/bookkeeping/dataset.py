"""The operations dataset, which holds what the pipelines keep about themselves: see contracts/bookkeeping.py."""

from __future__ import annotations

from connectors.bigquery.ddl import create_table, create_view
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import CURRENT, LedgerTable, view_query
from connectors.bookkeeping.specs import operations_specs

__all__ = ["ensure_operations", "operations_statements"]


def ensure_operations(warehouse: Warehouse, dataset: str) -> None:
    """Create the dataset, its tables and its view if they do not exist.

    Raises UsageError if one of them exists in another location or with an incompatible schema.
    """
    warehouse.ensure_dataset(dataset)
    for spec in operations_specs(dataset):
        warehouse.ensure_table(spec)
    LedgerTable(warehouse, dataset).ensure_view()


def operations_statements(project: str, dataset: str) -> list[str]:
    """Return the SQL statements that create the tables and the view of `ensure_operations` in an existing dataset."""
    view = create_view(project, dataset, CURRENT, view_query(project, dataset))
    return [*(create_table(project, spec) for spec in operations_specs(dataset)), view]
