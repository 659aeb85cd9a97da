"""CREATE statements in GoogleSQL: what Warehouse makes by the API, as text that a person can read and run."""

from __future__ import annotations

import json

from google.cloud.bigquery import SchemaField

from connectors.warehouse import TableSpec
from contracts.schemas import quote

__all__ = ["create_schema", "create_table", "create_view"]

SQL_TYPES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
"""Types that BigQuery spells otherwise in SQL than in its API."""


def create_schema(project: str, dataset: str, location: str) -> str:
    """The statement that makes a data set where it is absent."""
    return f"CREATE SCHEMA IF NOT EXISTS {quote(project)}.{quote(dataset)} OPTIONS (location = {_literal(location)})"


def create_table(project: str, spec: TableSpec) -> str:
    """The statement that makes a table where it is absent, with partitioning by day, clustering and descriptions."""
    columns = ",\n  ".join(map(_column, spec.schema))
    lines = [f"CREATE TABLE IF NOT EXISTS {_path(project, spec.dataset, spec.name)} (\n  {columns}\n)"]
    if spec.partition is not None:
        day, kinds = quote(spec.partition), {field.name: field.field_type for field in spec.schema}
        lines.append(f"PARTITION BY {day if kinds[spec.partition] == 'DATE' else f'TIMESTAMP_TRUNC({day}, DAY)'}")
    if spec.clustering:
        lines.append(f"CLUSTER BY {', '.join(map(quote, spec.clustering))}")
    if spec.description:
        lines.append(f"OPTIONS (description = {_literal(spec.description)})")
    return "\n".join(lines)


def create_view(project: str, dataset: str, name: str, query: str) -> str:
    """The statement that makes a view where it is absent."""
    return f"CREATE VIEW IF NOT EXISTS {_path(project, dataset, name)} AS\n{query}"


def _path(*names: str) -> str:
    return ".".join(map(quote, names))


def _column(field: SchemaField) -> str:
    single = (
        f"STRUCT<{', '.join(map(_column, field.fields))}>"
        if field.field_type == "RECORD"
        else SQL_TYPES.get(field.field_type, field.field_type)
    )
    # An array cannot be NOT NULL: it is empty instead.
    whole = {"REPEATED": f"ARRAY<{single}>", "REQUIRED": f"{single} NOT NULL"}.get(field.mode, single)
    options = f" OPTIONS (description = {_literal(field.description)})" if field.description else ""
    return f"{quote(field.name)} {whole}{options}"


def _literal(text: str) -> str:
    """A string literal of GoogleSQL: JSON's escapes are among its own."""
    return json.dumps(text, ensure_ascii=False)
