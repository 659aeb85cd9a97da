"""The schemas of a table: Arrow for batches and Parquet, BigQuery's for the warehouse.

All of them list the contract's columns, then `_extra` where unknown fields are kept, then lineage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts.errors import Misuse
from contracts.table import Column, Kind, Table, UnknownFields

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

__all__ = ["EXTRA", "LINEAGE", "arrow_schema", "bigquery_schema", "quote", "stored_columns"]

EXTRA = Column("_extra", Kind.STRING, description="The fields that the contract does not name, as JSON")
"""In Arrow a string, in BigQuery JSON."""

LINEAGE = (
    Column("_source", Kind.STRING, required=True, description="URI of the file, or kafka://topic/partition"),
    Column("_position", Kind.INTEGER, required=True, description="Byte offset or row number in a file; Kafka offset"),
    Column("_hash", Kind.INTEGER, required=True, description="64 bits of the digest of the primary key"),
    Column("_run_id", Kind.STRING, required=True, description="The run that wrote the row"),
    Column("_ingested_at", Kind.TIMESTAMP, required=True, description="When the row was written, UTC"),
)
"""The columns that the pipeline itself sets, in every table."""

ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.STRING: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.NUMERIC: pa.decimal128(38, 9),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+|[a-z0-9.-]+:[a-z0-9-]+")
"""A column, table, data set or project; the second form is a project of a domain, example.com:shop."""


def arrow_schema(table: Table) -> pa.Schema:
    """The schema of a batch of clean rows; a field is nullable unless the contract requires it."""
    return pa.schema([_arrow_field(column) for column in stored_columns(table)])


def bigquery_schema(table: Table) -> list[SchemaField]:
    """The schema of the table in BigQuery, with modes and descriptions."""
    return [_bigquery_field(column) for column in stored_columns(table)]


def quote(identifier: str) -> str:
    """The identifier in backticks; Misuse for one that could be anything else than one name."""
    if not IDENTIFIER.fullmatch(identifier):
        raise Misuse(f"{identifier[:80]!r} is not a name that BigQuery takes: letters, digits, _ and - only")
    return f"`{identifier}`"


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
    return SchemaField(
        column.name,
        _type_name(column),
        mode="REPEATED" if column.repeated else "REQUIRED" if column.required else "NULLABLE",
        fields=[_bigquery_field(field) for field in column.fields],
        **described,
    )


def _type_name(column: Column) -> str:
    return "JSON" if column is EXTRA else column.kind.value
