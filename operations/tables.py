"""The tables that exist in the warehouse."""

from __future__ import annotations

from typing import Any

from google.cloud import bigquery

from connectors.bigquery.warehouse import Warehouse
from contracts.errors import UsageError

__all__ = ["existing_tables"]


def existing_tables(warehouse: Warehouse, dataset: str | None) -> list[dict[str, Any]]:
    """Return table, kind, rows and columns of every table and view, or of those in `dataset`.

    The rows of a view are not counted, which could cost money. Raises UsageError if the dataset does not exist.
    """
    datasets = sorted(listed.dataset_id for listed in warehouse.client.list_datasets())
    if dataset and dataset not in datasets:
        raise UsageError(f"there is no dataset {dataset}; there are {', '.join(datasets) or 'none yet'}")
    return [row for name in ([dataset] if dataset else datasets) for row in _tables_of(warehouse, name)]


def _tables_of(warehouse: Warehouse, dataset: str) -> list[dict[str, Any]]:
    existing = [warehouse.existing(dataset, name) for name in sorted(warehouse.tables(dataset, ""))]
    tables = [table for table in existing if table is not None]
    counts = _rows(warehouse, [table for table in tables if table.table_type != "VIEW"])
    return [
        {
            "table": f"{dataset}.{table.table_id}",
            "kind": table.table_type.lower(),
            "rows": counts.get(table.table_id),
            "columns": len(table.schema) or None,
        }
        for table in tables
    ]


def _rows(warehouse: Warehouse, tables: list[bigquery.Table]) -> dict[str, int]:
    """Return the number of rows of each table by a COUNT(*), which BigQuery answers without reading the table.

    The number in a table's metadata lacks what streams have appended in the last minutes.
    """
    counted = [f"SELECT '{t.table_id}' AS name, COUNT(*) AS n FROM `{t.dataset_id}`.`{t.table_id}`" for t in tables]
    return {row["name"]: row["n"] for row in warehouse.query(" UNION ALL ".join(counted))} if counted else {}
