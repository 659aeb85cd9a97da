"""Staging tables and jobs of a batch: their names, lifetime and schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from google.cloud.bigquery import SchemaField

from connectors.bigquery.ddl import null_value
from connectors.bigquery.warehouse import job_name
from connectors.bookkeeping.statements import digest
from contracts.schemas import quote
from contracts.table import Column, Kind

__all__ = ["STAGING_LIFETIME", "STAGING_PREFIX", "as_loaded", "digest", "from_staging", "load_id", "staging_prefix"]

AS_TEXT = (Kind.JSON.value, Kind.TIME.value, Kind.BIGNUMERIC.value)
"""Types that Parquet has no form of that BigQuery certainly loads."""
STAGING_PREFIX = "staging_"
STAGING_LIFETIME = timedelta(days=1)
"""BigQuery drops a staging table after this time, if a crashed run left it and is never run again."""


def staging_prefix(run_id: str, datasets: Iterable[str]) -> str:
    """The prefix of the names of the staging tables of a run into `datasets`. Environments may share a run's name."""
    return f"{STAGING_PREFIX}{digest(run_id, *sorted(set(datasets)))}_"


def load_id(run_id: str, table: str, staging: str, uris: Sequence[str]) -> str:
    """The prefix of the ids of the jobs that load files into `staging` (dataset.table), a staging table of `table`."""
    return job_name("batch", run_id, table, "load", digest(staging, *uris))


def as_loaded(field: SchemaField) -> SchemaField:
    """The field as Parquet has it: JSON, TIME and BIGNUMERIC as strings, and no parameters such as NUMERIC(10, 2)."""
    api = field.to_api_repr()
    kept = {name: value for name, value in api.items() if name not in ("precision", "scale", "maxLength")}
    if field.field_type in AS_TEXT:
        kept["type"] = "STRING"
    if field.fields:
        kept["fields"] = [as_loaded(inner).to_api_repr() for inner in field.fields]
    return SchemaField.from_api_repr(kept)


def from_staging(column: Column, value: str, stored: SchemaField, texts: bool = True) -> str:
    """The SQL expression of a stored value of `column`; `value` is the expression of the staged one.

    `texts`: values of some types are staged as text, see AS_TEXT. `stored` is the column of the table. An object has
    its fields in its order, since BigQuery assigns objects by position; a field that no contract has is NULL.
    """
    if not _is_converted(column, stored, texts):
        return value
    if column.repeated:
        element = from_staging(column.element, "element", stored, texts)
        return f"ARRAY(SELECT {element} FROM UNNEST({value}) AS element WITH OFFSET AS _offset ORDER BY _offset)"
    match column.kind:
        case Kind.JSON:
            return f"PARSE_JSON({value})"
        case Kind.TIME:
            return f"CAST({value} AS TIME)"
        case Kind.BIGNUMERIC:
            return f"PARSE_BIGNUMERIC({value})"
    inner = {field.name.casefold(): field for field in column.fields}
    fields = [
        f"{_field(inner.get(field.name.casefold()), value, field, texts)} AS {quote(field.name)}"
        for field in stored.fields
    ]
    return f"IF({value} IS NULL, NULL, STRUCT({', '.join(fields)}))"


def _field(column: Column | None, record: str, stored: SchemaField, texts: bool) -> str:
    return from_staging(column, f"{record}.{quote(column.name)}", stored, texts) if column else null_value(stored)


def _is_converted(column: Column, stored: SchemaField, texts: bool) -> bool:
    """Whether a staged value is not what is stored: a type is another one, or the fields of an object are."""
    if column.kind is not Kind.RECORD:
        return texts and column.kind.value in AS_TEXT
    if [field.name for field in column.fields] != [field.name for field in stored.fields]:
        return True
    return any(_is_converted(*pair, texts) for pair in zip(column.fields, stored.fields, strict=True))
