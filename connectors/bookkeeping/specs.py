"""The bookkeeping tables as BigQuery has them."""

from __future__ import annotations

from google.cloud.bigquery import SchemaField

from connectors.bigquery.table_spec import TableSpec
from contracts.bookkeeping import TABLES, BookkeepingTable

__all__ = ["operations_specs", "spec_of"]


def spec_of(table: BookkeepingTable, dataset: str) -> TableSpec:
    """Return the table as it is in `dataset`, with modes and descriptions."""
    fields = (
        SchemaField(
            field.name,
            field.type.value,
            mode="REQUIRED" if field.required else "NULLABLE",
            description=field.description,
        )
        for field in table.fields
    )
    return TableSpec(
        dataset, table.name, tuple(fields), table.partition, table.clustering, table.description, table.days
    )


def operations_specs(dataset: str) -> list[TableSpec]:
    """Return every table of an operations dataset."""
    return [spec_of(table, dataset) for table in TABLES]
