"""Make what the pipelines write to: bucket, data sets, tables. Safe to run twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.bigquery_load import ensure_operations, table_spec
from connectors.leases import leases_spec
from connectors.ledger_table import dead_letters_spec, ledger_spec
from connectors.storage import Storage, join, split_uri
from connectors.warehouse import TableSpec, Warehouse
from contracts.errors import Misuse
from contracts.schemas import ddl, quote
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
    log(f"data set {operations_dataset}: ledger, dead_letters, leases")
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        warehouse.ensure_table(table_spec(table, datasets[name]))
        log(f"table {datasets[name]}.{name}")


def statements(
    project: str, location: str, tables: Mapping[str, Table], datasets: Mapping[str, str], operations_dataset: str
) -> list[str]:
    """What `setup` does, as SQL."""
    schemas = sorted({*datasets.values(), operations_dataset})
    found = [
        f'CREATE SCHEMA IF NOT EXISTS {quote(project)}.{quote(name)} OPTIONS (location = "{location}")'
        for name in schemas
    ]
    specs = (ledger_spec(operations_dataset), dead_letters_spec(operations_dataset), leases_spec(operations_dataset))
    found += [_ddl(project, spec) for spec in specs]
    return found + [ddl(table, project, datasets[name]) for name, table in tables.items()]


def _ddl(project: str, spec: TableSpec) -> str:
    columns = ",\n  ".join(
        f"{quote(field.name)} {field.field_type.replace('INTEGER', 'INT64').replace('BOOLEAN', 'BOOL')}"
        + (" NOT NULL" if field.mode == "REQUIRED" else "")
        for field in spec.schema
    )
    path = ".".join(map(quote, (project, spec.dataset, spec.name)))
    partition = f"\nPARTITION BY TIMESTAMP_TRUNC({quote(spec.partition)}, DAY)" if spec.partition else ""
    cluster = f"\nCLUSTER BY {', '.join(map(quote, spec.clustering))}" if spec.clustering else ""
    return f"CREATE TABLE IF NOT EXISTS {path} (\n  {columns}\n){partition}{cluster}"
