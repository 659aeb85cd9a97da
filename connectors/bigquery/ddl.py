"""CREATE statements in GoogleSQL for what Warehouse creates through the API: a person can read and run them."""

from __future__ import annotations

import json

from google.cloud.bigquery import SchemaField

from connectors.bigquery.table_spec import TableSpec
from contracts.schemas import quote

__all__ = ["create_schema", "create_table", "create_view", "null_value"]

SQL_TYPES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
"""Types whose names differ between BigQuery's API and SQL."""


def create_schema(project: str, dataset: str, location: str) -> str:
    """Return the statement that creates a dataset if it does not exist."""
    return f"CREATE SCHEMA IF NOT EXISTS {quote(project)}.{quote(dataset)} OPTIONS (location = {_literal(location)})"


def create_table(project: str, spec: TableSpec) -> str:
    """Return the statement that creates a table if it does not exist: partitioned, clustered, with descriptions."""
    columns = ",\n  ".join(map(_column, spec.schema))
    lines = [f"CREATE TABLE IF NOT EXISTS {_path(project, spec.dataset, spec.name)} (\n  {columns}\n)"]
    if spec.partition is not None:
        day = quote(spec.partition)
        kind = next(field.field_type for field in spec.schema if field.name == spec.partition)
        whole = kind == "DATE" and spec.partition_type == "DAY"
        lines.append(f"PARTITION BY {day if whole else f'{kind}_TRUNC({day}, {spec.partition_type})'}")
    if spec.created_clustering:
        lines.append(f"CLUSTER BY {', '.join(map(quote, spec.created_clustering))}")
    options = [f"partition_expiration_days = {spec.days}"] if spec.days else []
    options += ["require_partition_filter = TRUE"] if spec.require_filter else []
    options += [f"description = {_literal(spec.description)}"] if spec.description else []
    if options:
        lines.append(f"OPTIONS ({', '.join(options)})")
    return "\n".join(lines)


def create_view(project: str, dataset: str, name: str, query: str) -> str:
    """Return the statement that creates a view if it does not exist."""
    return f"CREATE VIEW IF NOT EXISTS {_path(project, dataset, name)} AS\n{query}"


def null_value(field: SchemaField) -> str:
    """Return the expression of the value that `field` has if it is given none: NULL of its type, or no elements."""
    return f"ARRAY<{_type(field)}>[]" if field.mode == "REPEATED" else f"CAST(NULL AS {_type(field)})"


def _type(field: SchemaField) -> str:
    """The type of the value, or of an element, without parameters."""
    if field.field_type not in ("RECORD", "STRUCT"):
        return SQL_TYPES.get(field.field_type, field.field_type)
    types = [(each, f"ARRAY<{_type(each)}>" if each.mode == "REPEATED" else _type(each)) for each in field.fields]
    return f"STRUCT<{', '.join(f'{quote(each.name)} {kind}' for each, kind in types)}>"


def _path(*names: str) -> str:
    return ".".join(map(quote, names))


def _column(field: SchemaField) -> str:
    single = (
        f"STRUCT<{', '.join(map(_column, field.fields))}>"
        if field.field_type == "RECORD"
        else SQL_TYPES.get(field.field_type, field.field_type) + _parameters(field)
    )
    # BigQuery has no NULL array, so an array cannot be NOT NULL.
    whole = {"REPEATED": f"ARRAY<{single}>", "REQUIRED": f"{single} NOT NULL"}.get(field.mode, single)
    options = f" OPTIONS (description = {_literal(field.description)})" if field.description else ""
    return f"{quote(field.name)} {whole}{options}"


def _parameters(field: SchemaField) -> str:
    if field.precision is not None:
        return f"({field.precision}, {field.scale or 0})"
    return "" if field.max_length is None else f"({field.max_length})"


def _literal(text: str) -> str:
    """Return a string literal of GoogleSQL, which knows all escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)
