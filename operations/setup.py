"""Make what the pipelines write to: bucket, datasets, tables. Safe to run twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.bigquery.ddl import create_schema, create_table
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations, operations_statements
from connectors.bookkeeping.specs import Retention
from connectors.files.storage import Storage, join, split_uri
from connectors.sinks.destination import table_spec
from contracts.bookkeeping import TABLES
from contracts.errors import UsageError
from contracts.table import Table

__all__ = ["Tables", "setup", "statements"]

FOLDERS = ("raw", "processed", "dead_letters")


@dataclass(frozen=True, slots=True)
class Tables:
    """What is created in BigQuery."""

    contracts: Mapping[str, Table]
    datasets: Mapping[str, str]
    """The dataset of each contract's table."""
    operations_dataset: str
    retention: Retention


def setup(
    warehouse: Warehouse, storage: Storage, tables: Tables, bucket: str, create_bucket: bool, log: Callable[[str], None]
) -> None:
    """Create what does not exist, and log each. Raises UsageError if the bucket is missing and may not be created."""
    if not storage.bucket_exists(bucket):
        if not create_bucket:
            raise UsageError(f"there is no bucket {bucket}; --create_bucket makes it")
        storage.client.create_bucket(split_uri(bucket)[0], location=warehouse.location)
        log(f"bucket {bucket}")
    for folder in FOLDERS:
        storage.write(join(bucket, folder, ""), b"")
    ensure_operations(warehouse, tables.operations_dataset, tables.retention)
    log(f"dataset {tables.operations_dataset}: {', '.join(table.name for table in TABLES)}")
    for name, table in tables.contracts.items():
        dataset = tables.datasets[name]
        warehouse.ensure_dataset(dataset)
        warehouse.ensure_table(table_spec(table, dataset))
        log(f"table {dataset}.{name}")


def statements(project: str, location: str, tables: Tables) -> list[str]:
    """What `setup` does, as SQL."""
    datasets, operations = tables.datasets, tables.operations_dataset
    specs = (table_spec(table, datasets[name]) for name, table in tables.contracts.items())
    return [
        *(create_schema(project, name, location) for name in sorted({*datasets.values(), operations})),
        *operations_statements(project, operations, tables.retention),
        *(create_table(project, spec) for spec in specs),
    ]
