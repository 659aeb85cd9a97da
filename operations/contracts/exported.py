"""A table of a contract in the languages of other tools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import yaml

from connectors.bigquery.ddl import create_table
from contracts.errors import UsageError
from contracts.table import Column, Kind, Table, UnknownFields
from operations.contracts.page import page

__all__ = ["FORMATS", "exported"]

JSON_TYPES: Mapping[Kind, dict[str, Any]] = {
    Kind.STRING: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.FLOAT: {"type": "number"},
    Kind.NUMERIC: {"type": "number"},
    Kind.BIGNUMERIC: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string"},
    Kind.TIME: {"type": "string"},
    Kind.TIMESTAMP: {"type": "string", "format": "date-time"},
    Kind.JSON: {},
}
AVRO_TYPES: Mapping[Kind, Any] = {
    Kind.STRING: "string",
    Kind.INTEGER: "long",
    Kind.FLOAT: "double",
    Kind.BOOLEAN: "boolean",
    Kind.BYTES: "bytes",
    Kind.DATE: {"type": "int", "logicalType": "date"},
    Kind.DATETIME: {"type": "long", "logicalType": "local-timestamp-micros"},
    Kind.TIME: {"type": "long", "logicalType": "time-micros"},
    Kind.TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
    Kind.JSON: {"type": "string", "sqlType": "JSON"},
}
DIGITS = {Kind.NUMERIC: (38, 9), Kind.BIGNUMERIC: (76, 38)}
PROJECT = "PROJECT"
"""Where a person writes a project."""


def exported(format: str, tables: Sequence[Table]) -> str:
    """Return the tables in one of FORMATS. Raises UsageError for several tables if the format describes one."""
    write, several = FORMATS[format]
    if len(tables) > 1 and not several:
        known = ", ".join(table.name for table in tables)
        raise UsageError(f"contracts export: {format} describes one table; name one of {known} with --table")
    return write(tables)


def _json_schema(tables: Sequence[Table]) -> str:
    """Return the JSON Schema of a record as it is read, in its plain form."""
    table = tables[0]
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": table.name}
    schema |= {"description": table.description} if table.description else {}
    root: dict[str, Any] = {"type": "object"}
    for column in table.read_columns:
        if not column.file_name and column.path_part is None:
            _place(root, column, strict=table.unknown_fields is UnknownFields.REJECT)
    if table.unknown_fields is UnknownFields.REJECT:
        root["additionalProperties"] = False
    return _json_text(schema | root)


def _place(node: dict[str, Any], column: Column, *, strict: bool) -> None:
    """Put the schema of a column where its value is in the record."""
    *above, name = column.path
    for step in above:
        if column.required and step not in node.setdefault("required", []):
            node["required"].append(step)
        node = node.setdefault("properties", {}).setdefault(step, {"type": "object"})
        if strict:
            node["additionalProperties"] = False
    node.setdefault("properties", {})[name] = _value_schema(column, strict=strict)
    if column.required and name not in node.setdefault("required", []):
        node["required"].append(name)
    if not node.get("required", [name]):
        del node["required"]


def _value_schema(column: Column, *, strict: bool) -> dict[str, Any]:
    if column.kind is Kind.RECORD:
        single: dict[str, Any] = {"type": "object"}
        for field in column.fields:
            _place(single, field, strict=strict)
        if strict:
            single["additionalProperties"] = False
    else:
        limits = _limits(column.element if column.repeated else column)
        single = {name: value for name, value in (JSON_TYPES[column.kind] | limits).items() if value != ""}
    whole: dict[str, Any] = {"type": "array", "items": single} if column.repeated else single
    if column.repeated and column.required:
        whole["minItems"] = 1
    if not column.required and "type" in whole:
        whole["type"] = [whole["type"], "null"]
        if "enum" in whole:
            whole["enum"] = [*whole["enum"], None]
    return ({"description": column.description} if column.description else {}) | whole


def _limits(column: Column) -> dict[str, Any]:
    if column.epoch is not None:
        return {"type": "number", "format": "", "description": f"{column.epoch.value} since 1970"}
    limits: dict[str, Any] = {}
    if column.date_format is not None:
        limits |= {"format": "", "description": f"in the format {column.date_format.pattern}"}
    if column.number_format is not None:
        limits["type"] = "string"
    if column.enum:
        limits["enum"] = [int(value) for value in column.enum] if column.kind is Kind.INTEGER else list(column.enum)
    if column.email:
        limits["format"] = "email"
    if column.pattern is not None:  # contracts/patterns.py writes characters as Rust does
        limits["pattern"] = re.sub(r"\\x\{([0-9a-f]+)\}", r"\\u{\1}", column.pattern)
    named = {
        "minLength": column.min_length or (1 if column.required and column.kind is Kind.STRING else None),
        "maxLength": column.max_length,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "exclusiveMinimum": column.exclusive_minimum,
        "exclusiveMaximum": column.exclusive_maximum,
        "multipleOf": column.multiple_of,
    }
    return limits | {name: _number(value) for name, value in named.items() if value is not None}


def _number(value: Decimal | int) -> int | float:
    return int(value) if value == int(value) else float(value)


def _avro(tables: Sequence[Table]) -> str:
    """Return the Avro schema of the columns of a row."""
    table = tables[0]
    schema = _avro_record(table.name, table.columns)
    return _json_text(({"doc": table.description} if table.description else {}) | schema)


def _avro_record(name: str, columns: Sequence[Column]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [_avro_field(name, column) for column in columns]}


def _avro_field(above: str, column: Column) -> dict[str, Any]:
    single: Any
    if column.kind is Kind.RECORD:
        single = _avro_record(f"{above}_{column.name}", column.fields)
    elif column.kind in DIGITS:
        precision, scale = (column.precision, column.scale) if column.precision else DIGITS[column.kind]
        single = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    else:
        single = AVRO_TYPES[column.kind]
    field: dict[str, Any] = {"name": column.name}
    if column.description:
        field["doc"] = column.description
    if column.repeated:
        return field | {"type": {"type": "array", "items": single}, "default": []}
    return field | ({"type": single} if column.required else {"type": ["null", single], "default": None})


def _bigquery(tables: Sequence[Table]) -> str:
    """Return the statements that create the tables, as a run creates them."""
    from connectors.sinks.destination import table_spec  # imports Beam

    return "".join(f"{create_table(PROJECT, table_spec(table, table.dataset))};\n" for table in tables)


def _dbt(tables: Sequence[Table]) -> str:
    """Return the tables as sources of dbt, with its tests of what the contract promises."""
    sources: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        described = {"description": table.description} if table.description else {}
        columns = [_dbt_column(table, column) for column in table.columns]
        sources.setdefault(table.dataset, []).append({"name": table.name, **described, "columns": columns})
    document = {"version": 2, "sources": [{"name": name, "tables": each} for name, each in sources.items()]}
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=120))


def _dbt_column(table: Table, column: Column) -> dict[str, Any]:
    tests: list[Any] = []
    if table.primary_key == (column.name,):
        tests.append("unique")
    if column.required and not column.repeated:
        tests.append("not_null")
    if column.enum and not column.repeated:
        tests.append({"accepted_values": {"values": list(column.enum), "quote": column.kind is Kind.STRING}})
    described = {"description": column.description} if column.description else {}
    return {"name": column.name, **described, **({"data_tests": tests} if tests else {})}


def _json_text(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


FORMATS: Mapping[str, tuple[Callable[[Sequence[Table]], str], bool]] = {
    "json-schema": (_json_schema, False),
    "bigquery": (_bigquery, True),
    "avro": (_avro, False),
    "html": (page, True),
    "dbt": (_dbt, True),
}
"""What writes each format, and whether it can describe several tables."""
