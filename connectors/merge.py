"""The one statement that takes a run's staged rows into their table, under the table's write disposition.

Every statement may run again: a second time it finds nothing to do.
"""

from __future__ import annotations

from contracts.schemas import EXTRA, quote, stored_columns
from contracts.table import Kind, Table, UnknownFields, WriteDisposition

__all__ = ["merge_statement"]

INGESTED_AT = "_ingested_at"


def merge_statement(table: Table, target: str, staging: str) -> str:
    """The INSERT or MERGE; `target` and `staging` are quoted table paths. `_ingested_at` is when it runs."""
    columns = [column.name for column in stored_columns(table)]
    into = ", ".join(map(quote, columns))
    values = ", ".join(_value(name, "incoming_row") for name in columns)
    same_key = " AND ".join(f"existing_row.{quote(key)} = incoming_row.{quote(key)}" for key in table.primary_key)
    match table.disposition:
        case WriteDisposition.APPEND:
            return (
                f"INSERT INTO {target} ({into})\nSELECT {values}\nFROM {staging} AS incoming_row\n"
                f"WHERE NOT EXISTS (SELECT 1 FROM {target} AS existing_row WHERE {same_key})"
            )
        case WriteDisposition.REPLACE:
            return (
                f"MERGE {target} AS existing_row USING {staging} AS incoming_row ON FALSE\n"
                f"WHEN NOT MATCHED BY SOURCE THEN DELETE\nWHEN NOT MATCHED THEN INSERT ({into}) VALUES ({values})"
            )
        case WriteDisposition.MERGE:
            updates = ", ".join(f"{quote(name)} = {_value(name, 'incoming_row')}" for name in columns)
            return (
                f"MERGE {target} AS existing_row USING {staging} AS incoming_row ON {same_key}\n"
                f"WHEN MATCHED AND ({_differs(table)}) THEN UPDATE SET {updates}\n"
                f"WHEN NOT MATCHED THEN INSERT ({into}) VALUES ({values})"
            )


def _value(name: str, row: str) -> str:
    if name == INGESTED_AT:
        return "CURRENT_TIMESTAMP()"
    if name == EXTRA.name:
        return f"PARSE_JSON({row}.{quote(name)})"
    return f"{row}.{quote(name)}"


def _differs(table: Table) -> str:
    """True where a row differs from the stored one in more than lineage; of nested values the JSON is compared."""
    conditions: list[str] = []
    for column in table.columns:
        if column.name in table.primary_key:
            continue
        sides = [f"existing_row.{quote(column.name)}", f"incoming_row.{quote(column.name)}"]
        if column.repeated or column.kind is Kind.RECORD:
            sides = [f"TO_JSON_STRING({side})" for side in sides]
        conditions.append(f"{sides[0]} IS DISTINCT FROM {sides[1]}")
    if table.unknown_fields is UnknownFields.KEEP:
        stored, incoming = f"existing_row.{quote(EXTRA.name)}", f"PARSE_JSON(incoming_row.{quote(EXTRA.name)})"
        conditions.append(f"TO_JSON_STRING({stored}) IS DISTINCT FROM TO_JSON_STRING({incoming})")
    return " OR ".join(conditions) or "FALSE"
