"""The operations dataset, which holds what the pipelines keep about themselves: see contracts/bookkeeping.py."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.cloud.bigquery import Table

from connectors.bigquery.ddl import create_table, create_view
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS, letters_query
from connectors.bookkeeping.ledger import CURRENT, view_query
from connectors.bookkeeping.specs import FOREVER, Retention, operations_specs
from contracts.bookkeeping import DEAD_LETTERS, LEDGER

__all__ = ["ensure_operations", "kept_since", "operations_statements"]


def ensure_operations(warehouse: Warehouse, dataset: str, retention: Retention = FOREVER) -> None:
    """Create the dataset, its tables and its views if they do not exist; bring views of a version before up to date.

    Raises UsageError if one of them exists in another location or with an incompatible schema.
    """
    warehouse.ensure_dataset(dataset)
    for spec in operations_specs(dataset, retention):
        warehouse.ensure_table(spec)
    for name, query in _views(warehouse.project, dataset).items():
        _ensure_view(warehouse, dataset, name, query)


def operations_statements(project: str, dataset: str, retention: Retention = FOREVER) -> list[str]:
    """Return the SQL statements that create the tables and views of `ensure_operations` in an existing dataset."""
    views = [create_view(project, dataset, name, query) for name, query in _views(project, dataset).items()]
    return [*(create_table(project, spec) for spec in operations_specs(dataset, retention)), *views]


def kept_since(warehouse: Warehouse, dataset: str, now: datetime) -> datetime | None:
    """Return since when the ledger and the dead letters are whole; None if their partitions do not expire.

    A partition expires by the beginning of its day.
    """
    layouts = (warehouse.existing(dataset, name) for name in (LEDGER.name, DEAD_LETTERS.name))
    partitions = (layout.time_partitioning for layout in layouts if layout and layout.time_partitioning)
    kept = [int(each.expiration_ms) for each in partitions if each.expiration_ms]
    return now - timedelta(milliseconds=min(kept)) + timedelta(days=1) if kept else None


def _views(project: str, dataset: str) -> dict[str, str]:
    return {CURRENT: view_query(project, dataset), CURRENT_LETTERS: letters_query(project, dataset)}


def _ensure_view(warehouse: Warehouse, dataset: str, name: str, query: str) -> None:
    view = warehouse.existing(dataset, name)
    if view is None:
        view = Table(warehouse.reference(dataset, name))
        view.view_query = query
        warehouse.client.create_table(view, exists_ok=True)
    elif view.view_query != query:
        view.view_query = query
        warehouse.client.update_table(view, ["view_query"])
