"""The schemas of a table: Arrow for batches and Parquet, BigQuery's for the warehouse.

All of them list the contract's columns, then `_extra` where unknown fields are kept, then lineage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts.errors import UsageError
from contracts.lineage import LINEAGE
from contracts.table import Column, Kind, Table, UnknownFields

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

__all__ = ["EXTRA", "any_partition", "arrow_schema", "bigquery_schema", "quote", "stored_columns"]

EXTRA = Column("_extra", Kind.STRING, description="The fields that the contract does not name, as JSON")
"""In Arrow a string, in BigQuery JSON."""

ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.STRING: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.NUMERIC: pa.decimal128(38, 9),
    Kind.BIGNUMERIC: pa.decimal256(76, 38),
    Kind.BOOLEAN: pa.bool_(),
    Kind.BYTES: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.DATETIME: pa.timestamp("us"),
    Kind.TIME: pa.time64("us"),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.JSON: pa.string(),
}
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+|[a-z0-9.-]+:[a-z0-9-]+")
"""A column, table, dataset or project; the second form is a project of a domain, example.com:shop."""


def arrow_schema(table: Table) -> pa.Schema:
    """The schema of a batch of clean rows; a field is nullable unless the contract requires it."""
    return pa.schema([_arrow_field(column) for column in stored_columns(table)])


def bigquery_schema(table: Table) -> list[SchemaField]:
    """The schema of the table in BigQuery, with modes and descriptions."""
    return [_bigquery_field(column) for column in stored_columns(table)]


def quote(identifier: str) -> str:
    """The identifier in backticks; UsageError for one that could be anything else than one name."""
    if not IDENTIFIER.fullmatch(identifier):
        raise UsageError(f"{identifier[:80]!r} is not a name that BigQuery takes: letters, digits, _ and - only")
    return f"`{identifier}`"


def any_partition(table: Table, row: str = "") -> list[str]:
    """Return the condition that selects all partitions, if BigQuery requires a condition on them; else nothing.

    `row` is the alias of the table in the statement.
    """
    if table.partition is None or not table.require_partition_filter:
        return []
    column = f"{row}.{quote(table.partition)}" if row else quote(table.partition)
    return [f"({column} >= {table.column(table.partition).kind.value} '0001-01-01' OR {column} IS NULL)"]


def stored_columns(table: Table) -> tuple[Column, ...]:
    """The columns as they are stored: the contract's, `_extra` where unknown fields are kept, lineage."""
    extra = (EXTRA,) if table.unknown_fields is UnknownFields.KEEP else ()
    return (*table.columns, *extra, *LINEAGE)


def _arrow_field(column: Column) -> pa.Field[Any]:
    single: pa.DataType = (
        pa.struct([_arrow_field(field) for field in column.fields])
        if column.kind is Kind.RECORD
        else ARROW_TYPES[column.kind]
    )
    # BigQuery's arrays hold no null
    whole = pa.list_(pa.field("item", single, nullable=False)) if column.repeated else single
    return pa.field(column.name, whole, nullable=not column.required)


def _bigquery_field(column: Column) -> SchemaField:
    # Here, since a worker that only decodes needs none of the client's libraries.
    from google.cloud.bigquery import SchemaField

    described: dict[str, Any] = {"description": column.description} if column.description else {}
    if column.precision is not None:
        described |= {"precision": column.precision, "scale": column.scale}
    if column.length is not None:
        described["max_length"] = column.length
    return SchemaField(
        column.name,
        _type_name(column),
        mode="REPEATED" if column.repeated else "REQUIRED" if column.required else "NULLABLE",
        fields=[_bigquery_field(field) for field in column.fields],
        **described,
    )


def _type_name(column: Column) -> str:
    return "JSON" if column is EXTRA else column.kind.value
