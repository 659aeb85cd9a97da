"""The statement that moves a run's staged rows into their table, by the table's write disposition.

Every statement may run again: the second time it changes nothing. It fails if its attempt does not hold the table's
lease, see connectors/bookkeeping/statements.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.cloud.bigquery import SchemaField

from connectors.sinks.partition_ranges import transaction
from connectors.sinks.staging import from_staging
from contracts.lineage import HASH, INGESTED_AT, POSITION, RUN_ID, SOURCE
from contracts.schemas import EXTRA, any_partition, bigquery_schema, quote, stored_columns
from contracts.table import Column, Identity, Kind, Table, UnknownFields, WriteDisposition

__all__ = ["merge_statement"]


def merge_statement(
    table: Table,
    target: str,
    staging: str,
    lease: str,
    ranges: Sequence[str] = (),
    since: str = "",
    stored: Sequence[SchemaField] = (),
) -> str:
    """Return the INSERT or MERGE, or a transaction of one for each of `ranges`. `_ingested_at` is when it runs.

    `target` and `staging` are quoted table paths, `lease` is what `lease_condition` returns, `ranges` are conditions on
    the partition column. `since` is set if the rows are older than the run: a query of `_source`, `_position`, `since`
    and `refused_by`. A MERGE without `versionBy` then updates only rows that were written before that, or that this run
    wrote from an earlier record of the same source. `stored` are the columns of the target; () if they are those of a
    table that the contract has just made.
    """
    found = {field.name.casefold(): field for field in stored or bigquery_schema(table)}
    values = {column.name: _value(column, found[column.name.casefold()]) for column in stored_columns(table)}
    if since and table.disposition is WriteDisposition.MERGE and table.version_by is None:
        known = f"({since}) AS known USING (_source, _position)"
        staging = f"(SELECT staged.*, known.since, known.refused_by FROM {staging} AS staged JOIN {known})"
    else:
        since = ""
    if not ranges:
        return _statement(table, target, staging, lease, "", table.disposition, since, values)
    statements, disposition = [], table.disposition
    if disposition is WriteDisposition.REPLACE:
        statements = [f"DELETE FROM {target} WHERE {lease} AND {each}" for each in ranges]
        disposition = WriteDisposition.APPEND
    statements += [
        _statement(table, target, staging, lease, f" AND {each}", disposition, since, values) for each in ranges
    ]
    return transaction(statements)


def _statement(
    table: Table,
    target: str,
    staging: str,
    lease: str,
    part: str,
    disposition: WriteDisposition,
    since: str,
    by_column: Mapping[str, str],
) -> str:
    """`by_column` has the expression of the value of each column."""
    columns = stored_columns(table)
    read = ", ".join(quote(column.name) for column in columns if column.name != INGESTED_AT) + (
        since and ", since, refused_by"
    )
    staged = f"(SELECT {read} FROM {staging} WHERE {lease}{part})"
    into = ", ".join(quote(column.name) for column in columns)
    values = ", ".join(by_column.values())
    filters = any_partition(table, "existing_row")
    same_key = " AND ".join(
        [*(f"existing_row.{quote(key)} = incoming_row.{quote(key)}" for key in _identifying_columns(table)), *filters]
    )
    match disposition:
        case WriteDisposition.APPEND:
            return (
                f"INSERT INTO {target} ({into})\nSELECT {values}\nFROM {staged} AS incoming_row\n"
                f"WHERE NOT EXISTS (SELECT 1 FROM {target} AS existing_row WHERE {same_key})"
            )
        case WriteDisposition.REPLACE:
            unmatched = " AND ".join(["NOT MATCHED BY SOURCE", *filters])
            return (
                f"MERGE {target} AS existing_row USING {staged} AS incoming_row ON FALSE\n"
                f"WHEN {unmatched} THEN DELETE\nWHEN NOT MATCHED THEN INSERT ({into}) VALUES ({values})"
            )
        case WriteDisposition.MERGE:
            updates = ", ".join(f"{quote(name)} = {value}" for name, value in by_column.items())
            return (
                f"MERGE {target} AS existing_row USING {staged} AS incoming_row ON {same_key}\n"
                f"WHEN MATCHED AND {_not_older(table, since)}({_differs(table, by_column)}) THEN UPDATE SET {updates}\n"
                f"WHEN NOT MATCHED THEN INSERT ({into}) VALUES ({values})"
            )


def _identifying_columns(table: Table) -> tuple[str, ...]:
    """Return the columns by which a stored row is found. `_hash` is of the place of a record, or of its values."""
    match table.identity:
        case Identity.KEY:
            return table.primary_key
        case Identity.POSITION:
            return HASH, POSITION
        case Identity.RECORD:
            return (HASH,)


def _value(column: Column, stored: SchemaField) -> str:
    if column.name == INGESTED_AT:
        return "CURRENT_TIMESTAMP()"
    staged = f"incoming_row.{quote(column.name)}"
    return f"PARSE_JSON({staged})" if column is EXTRA else from_staging(column, staged, stored)


def _not_older(table: Table, since: str) -> str:
    """Return the condition that the stored row has no greater version, with the AND behind it; "" without `versionBy`.

    With `since`, the condition that the stored row is from before the incoming one was read for the first time.

    As within a run, a row without a version loses, and of equal versions the later one wins.
    """
    if since:
        earlier = f"existing_row.{SOURCE} = incoming_row.{SOURCE} AND existing_row.{POSITION} < incoming_row.{POSITION}"
        by_same_run = f"existing_row.{RUN_ID} = incoming_row.refused_by AND {earlier}"
        return f"(existing_row.{INGESTED_AT} < incoming_row.since OR ({by_same_run})) AND "
    if table.version_by is None:
        return ""
    stored, incoming = (f"{row}.{quote(table.version_by)}" for row in ("existing_row", "incoming_row"))
    return f"({stored} IS NULL OR {incoming} >= {stored}) AND "


def _differs(table: Table, by_column: Mapping[str, str]) -> str:
    """Return the condition that a row differs from the stored row in a column other than lineage.

    Nested values are compared as JSON.
    """
    conditions: list[str] = []
    for column in table.columns:
        if column.name in table.primary_key:
            continue
        sides = [f"existing_row.{quote(column.name)}", by_column[column.name]]
        if column.repeated or column.kind in (Kind.RECORD, Kind.JSON):
            sides = [f"TO_JSON_STRING({side})" for side in sides]
        conditions.append(f"{sides[0]} IS DISTINCT FROM {sides[1]}")
    if table.unknown_fields is UnknownFields.KEEP:
        stored = f"existing_row.{quote(EXTRA.name)}"
        conditions.append(f"TO_JSON_STRING({stored}) IS DISTINCT FROM TO_JSON_STRING({by_column[EXTRA.name]})")
    return " OR ".join(conditions) or "FALSE"
