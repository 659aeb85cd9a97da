"""Contracts as datacontract-cli imports them from a BigQuery table, a SQL file and an Avro schema."""

from __future__ import annotations

import pytest

from contracts.errors import UsageError
from contracts.odcs.tables import load
from contracts.table import Kind, Table

HEAD = """apiVersion: v3.1.0
kind: DataContract
id: my-data-contract
name: My Data Contract
version: 1.0.0
status: draft
"""
BIGQUERY = f"""{HEAD}schema:
- name: readings
  physicalName: readings
  logicalType: object
  physicalType: table
  description: What sensors have measured
  properties:
  - name: reading_id
    logicalType: string
    physicalType: STRING
    required: true
    logicalTypeOptions: {{maxLength: 42}}
  - {{name: frame, logicalType: array, physicalType: BYTES}}
  - {{name: count, logicalType: integer, physicalType: INTEGER}}
  - {{name: ratio, logicalType: number, physicalType: FLOAT}}
  - {{name: active, logicalType: boolean, physicalType: BOOLEAN}}
  - {{name: at, logicalType: timestamp, physicalType: TIMESTAMP}}
  - {{name: local, logicalType: timestamp, physicalType: DATETIME}}
  - {{name: day, logicalType: date, physicalType: DATE}}
  - {{name: clock, logicalType: time, physicalType: TIME}}
  - name: price
    logicalType: number
    physicalType: NUMERIC
    customProperties: [{{property: precision, value: 5}}, {{property: scale, value: 3}}]
  - {{name: big, logicalType: number, physicalType: BIGNUMERIC}}
  - {{name: tree, logicalType: object, physicalType: JSON}}
  - name: place
    logicalType: object
    physicalType: RECORD
    properties: [{{name: row, logicalType: string, physicalType: STRING}}]
  - name: parts
    logicalType: array
    items:
      name: items
      logicalType: object
      physicalType: RECORD
      properties: [{{name: part, logicalType: integer, physicalType: INTEGER}}]
  - {{name: tags, logicalType: array, items: {{name: items, logicalType: string, physicalType: STRING}}}}
"""
SQL = f"""{HEAD}servers:
- {{server: postgres, type: postgres, host: my_host, port: 5432, database: my_database, schema: public}}
schema:
- name: orders
  physicalName: orders
  logicalType: object
  physicalType: table
  properties:
  - {{name: order_id, logicalType: number, physicalType: BIGINT, primaryKey: true, primaryKeyPosition: 1}}
  - {{name: token, logicalType: string, physicalType: UNIQUEIDENTIFIER, logicalTypeOptions: {{format: uuid}}}}
  - {{name: image, logicalType: string, physicalType: BYTEA, logicalTypeOptions: {{format: binary}}}}
  - {{name: name, logicalType: string, physicalType: VARCHAR(255), logicalTypeOptions: {{maxLength: 255}}}}
  - name: amount
    logicalType: number
    physicalType: DECIMAL(10, 2)
    customProperties: [{{property: precision, value: 10}}, {{property: scale, value: 2}}]
  - {{name: paid, logicalType: boolean, physicalType: BOOLEAN}}
  - {{name: created, logicalType: timestamp, physicalType: TIMESTAMPTZ}}
"""
AVRO = f"""{HEAD}schema:
- name: rides
  physicalName: rides
  logicalType: object
  physicalType: record
  customProperties: [{{property: namespace, value: org.example}}]
  properties:
  - {{name: id, logicalType: string, physicalType: string, required: true}}
  - {{name: payload, logicalType: array, physicalType: bytes, required: true}}
  - name: kind
    logicalType: string
    physicalType: enum
    required: true
    customProperties: [{{property: avroSymbols, value: [a, b]}}]
  - {{name: length, logicalType: number, physicalType: double, required: false}}
  - {{name: minutes, logicalType: integer, physicalType: long, required: false}}
"""


def read(text: str) -> Table:
    (table,) = load([("imported.odcs.yaml", text)]).values()
    return table


def kinds(table: Table) -> dict[str, Kind]:
    return {column.name: column.kind for column in table.columns}


def test_a_bigquery_table_loads_without_an_edit() -> None:
    table = read(BIGQUERY)
    assert list(kinds(table).values()) == [
        *(Kind.STRING, Kind.BYTES, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.DATETIME, Kind.DATE),
        *(Kind.TIME, Kind.NUMERIC, Kind.BIGNUMERIC, Kind.JSON, Kind.RECORD, Kind.RECORD, Kind.STRING),
    ]
    assert [table.column(name).repeated for name in ("frame", "parts", "tags")] == [False, True, True]
    assert any("precision' is for other tools" in note for note in table.notes)


def test_a_sql_file_loads_without_an_edit() -> None:
    table = read(SQL)
    assert table.primary_key == ("order_id",)
    assert list(kinds(table).values()) == [
        *(Kind.INTEGER, Kind.STRING, Kind.BYTES, Kind.STRING, Kind.NUMERIC, Kind.BOOLEAN, Kind.TIMESTAMP)
    ]
    assert table.column("token").pattern is not None
    assert (table.column("amount").precision, table.column("amount").scale) == (10, 2)


def test_an_avro_schema_loads_without_an_edit() -> None:
    assert kinds(read(AVRO)) == {
        "id": Kind.STRING,
        "payload": Kind.BYTES,
        "kind": Kind.STRING,
        "length": Kind.FLOAT,
        "minutes": Kind.INTEGER,
    }


def test_all_edits_are_asked_for_at_once_with_their_lines() -> None:
    text = f"""{HEAD}schema:
- name: places
  physicalType: table
  properties:
  - {{name: shape, logicalType: object, physicalType: GEOGRAPHY}}
  - {{name: span, logicalType: array, physicalType: RANGE, items: {{name: items, logicalType: date}}}}
  - {{name: other, logicalType: object, physicalType: XML}}
  - {{name: token, logicalType: string, logicalTypeOptions: {{format: uuid, pattern: x}}}}
  - {{name: host, logicalType: string, logicalTypeOptions: {{format: hostname}}}}
"""
    with pytest.raises(UsageError) as caught:
        read(text)
    lines = caught.value.lines
    assert [line.rpartition(" (")[2] for line in lines] == [f"line {number})" for number in range(11, 16)]
    assert "physicalType' GEOGRAPHY is a type that is not supported" in lines[0]
    assert "physicalType' RANGE is a type that is not supported" in lines[1]
    assert "an object needs fields, or physicalType: JSON for a subtree as it stands" in lines[2]
    assert "cannot be combined with format: uuid" in lines[3]
    assert "'hostname' is not supported for string; email, uuid and binary are" in lines[4]
