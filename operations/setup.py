"""Make what the pipelines write to: bucket, datasets, tables. Safe to run twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.bigquery.ddl import create_schema, create_table
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations, operations_statements
from connectors.files.storage import Storage, join, split_uri
from connectors.sinks.destination import table_spec
from contracts.bookkeeping import TABLES
from contracts.errors import UsageError
from contracts.table import Table

__all__ = ["setup", "statements"]

FOLDERS = ("raw", "processed", "dead_letters")


def setup(
    warehouse: Warehouse,
    storage: Storage,
    tables: Mapping[str, Table],
    datasets: Mapping[str, str],
    operations_dataset: str,
    bucket: str,
    create_bucket: bool,
    log: Callable[[str], None],
) -> None:
    """Create what does not exist, and log each. Raises UsageError if the bucket is missing and may not be created."""
    if not storage.bucket_exists(bucket):
        if not create_bucket:
            raise UsageError(f"there is no bucket {bucket}; --create_bucket makes it")
        storage.client.create_bucket(split_uri(bucket)[0], location=warehouse.location)
        log(f"bucket {bucket}")
    for folder in FOLDERS:
        storage.write(join(bucket, folder, ""), b"")
    ensure_operations(warehouse, operations_dataset)
    log(f"dataset {operations_dataset}: {', '.join(table.name for table in TABLES)}")
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        warehouse.ensure_table(table_spec(table, datasets[name]))
        log(f"table {datasets[name]}.{name}")


def statements(
    project: str, location: str, tables: Mapping[str, Table], datasets: Mapping[str, str], operations_dataset: str
) -> list[str]:
    """What `setup` does, as SQL."""
    schemas = sorted({*datasets.values(), operations_dataset})
    return [
        *(create_schema(project, name, location) for name in schemas),
        *operations_statements(project, operations_dataset),
        *(create_table(project, table_spec(table, datasets[name])) for name, table in tables.items()),
    ]
