"""The bookkeeping tables as BigQuery has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.cloud.bigquery import SchemaField

from connectors.bigquery.table_spec import TableSpec
from contracts.bookkeeping import DEAD_LETTERS, LEDGER, REPLAYED, TABLES, BookkeepingTable

__all__ = ["FOREVER", "SHORTEST_DAYS", "Retention", "operations_specs", "spec_of"]

SHORTEST_DAYS = 35
"""What reads the tables again reads 30 days of them as a rule."""


@dataclass(frozen=True, slots=True)
class Retention:
    """After how many days BigQuery drops what the tables hold. None: as it is, in a new table never."""

    dead_letter_days: int | None = None
    ledger_days: int | None = None


FOREVER = Retention()


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


def operations_specs(dataset: str, retention: Retention = FOREVER) -> list[TableSpec]:
    """Return every table of an operations dataset."""
    days = {
        LEDGER.name: retention.ledger_days,
        DEAD_LETTERS.name: retention.dead_letter_days,
        REPLAYED.name: retention.dead_letter_days,
    }
    specs = (spec_of(table, dataset) for table in TABLES)
    return [replace(spec, days=days.get(spec.name) or spec.days) for spec in specs]
