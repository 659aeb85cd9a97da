"""Make what the pipelines write to: bucket, data sets, tables. Safe to run twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.bigquery_load import table_spec
from connectors.ddl import create_schema, create_table
from connectors.operations_dataset import ensure_operations, operations_statements
from connectors.storage import Storage, join, split_uri
from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from contracts.table import Table

__all__ = ["setup", "statements"]

FOLDERS = ("raw", "processed", "dead_letters")


def setup(
    warehouse: Warehouse, storage: Storage, tables: Mapping[str, Table], datasets: Mapping[str, str],
    operations_dataset: str, bucket: str, create_bucket: bool, log: Callable[[str], None],
) -> None:  # fmt: skip
    """Make what is absent and say so. Misuse where the bucket is absent and may not be made."""
    if not storage.bucket_exists(bucket):
        if not create_bucket:
            raise Misuse(f"there is no bucket {bucket}; --create_bucket makes it")
        storage.client.create_bucket(split_uri(bucket)[0], location=warehouse.location)
        log(f"bucket {bucket}")
    for folder in FOLDERS:
        storage.write(join(bucket, folder, ""), b"")
    ensure_operations(warehouse, operations_dataset)
    log(f"data set {operations_dataset}: ledger, dead_letters, leases, write_streams")
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
