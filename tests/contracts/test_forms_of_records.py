"""Whole records whose contract says how their values are written: from YAML to rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import yaml

from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.odcs.tables import load
from contracts.table import Table

TODAY = date(2026, 6, 15)


def table_of(*properties: str, custom: str = "") -> Table:
    """A table of these properties (YAML in braces) and an integer key `id`."""
    members = [yaml.safe_load(text) for text in ("{name: id, logicalType: integer, primaryKey: true}", *properties)]
    schema: dict[str, Any] = {"name": "t", "properties": members, "customProperties": yaml.safe_load(custom or "[]")}
    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "t", "version": "1", "schema": [schema]}
    return load([("t.odcs.yaml", yaml.safe_dump(document))])["t"]


def read(table: Table, *records: str, header: str = "") -> tuple[list[tuple[Any, ...]], list[str]]:
    """The rows without the key, and the codes of the refused records."""
    format = Format.CSV if header else Format.JSON
    raw, positions = [record.encode() for record in records], np.arange(len(records), dtype=np.int64)
    parsed = parse_header(header.encode(), table.csv, table.read_columns) if header else None
    decoded = Decoder(table, lambda: TODAY).decode(Block("s", format, raw, positions, parsed))
    names = [column.name for column in table.columns if column.name != "id"]
    return decoded.rows.select(names).rows(), [refusal.code.value for refusal in decoded.refusals]


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_timestamps_as_bigquery_prints_them() -> None:
    texts = ["2024-05-01 12:00:00 UTC", "2024-05-01T12:00:00.0000001Z", "2024-05-01T12:00:00 Z", "2024-05-01 14:00+02"]
    records = [f'{{"id":{number},"x":"{text}"}}' for number, text in enumerate(texts)]
    assert read(table_of("{name: x, logicalType: timestamp}"), *records) == ([(NOON,)] * 4, [])


@pytest.mark.parametrize(
    ("unit", "number"),
    [("s", "1714564800"), ("ms", "1714564800000"), ("us", "1714564800000000"), ("ns", "17145648e11")],
)
def test_epochs_as_number_and_as_text(unit: str, number: str) -> None:
    table = table_of(f"{{name: x, logicalType: timestamp, customProperties: [{{property: epoch, value: {unit}}}]}}")
    assert read(table, f'{{"id":1,"x":{number}}}', f'{{"id":2,"x":"{number}"}}') == ([(NOON,)] * 2, [])
    assert read(table, '{"id":1,"x":"2024-05-01T12:00:00Z"}', '{"id":2,"x":true}')[1] == ["wrong_type"] * 2


EURO = "customProperties: [{property: numberFormat, value: {decimal: ',', group: '.', strip: ['€']}}]"


def test_an_export_with_decimal_commas_german_dates_and_blanks() -> None:
    table = table_of(
        "{name: who, logicalType: string}",
        f"{{name: amount, logicalType: number, {EURO}}}",
        "{name: day, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}}",
        custom="[{property: csv, value: {delimiter: ';', nulls: ['-'], trim: true}}]",
    )
    lines = ["1; Käthe ;1.234,56 €;31.12.2024", " 2 ;- ; 7,5; 01.02.2024 ", "3;;-;", "4;x;1.5;01.02.2024"]
    rows, codes = read(table, *lines, header="id;who;amount;day")
    assert rows == [
        ("Käthe", Decimal("1234.56"), date(2024, 12, 31)),
        (None, Decimal("7.5"), date(2024, 2, 1)),
        (None, None, None),
    ]
    assert codes == ["wrong_type"]


def test_blanks_are_trimmed_for_the_columns_that_say_so() -> None:
    trimmed = "{name: a, logicalType: string, customProperties: [{property: trim, value: true}]}"
    table = table_of(trimmed, "{name: b, logicalType: string}")
    lines = ["1, x , y ", '2," "," "', "3,\u00a0x\u00a0,", "4,x,y,z", "no,x ,y"]
    expected = [("x", " y "), (None, " "), ("x", None)]
    assert read(table, *lines, header="id,a,b") == (expected, ["malformed_csv", "wrong_type"])
    for line, row in zip(lines, expected, strict=False):
        assert read(table, line, "no,x,y", header="id,a,b")[0] == [row]


def test_a_json_number_and_a_text_in_the_number_format() -> None:
    table = table_of(f"{{name: x, logicalType: number, {EURO}}}")
    records = ['{"id":1,"x":1.234}', '{"id":2,"x":"1.234"}', '{"id":3,"x":"1,5 \\u20ac"}', '{"id":4,"x":1e2}']
    assert read(table, *records) == ([(Decimal("1.234"),), (Decimal(1234),), (Decimal("1.5"),), (Decimal(100),)], [])


def test_a_json_column_holds_any_value() -> None:
    table = table_of("{name: x, logicalType: object, physicalType: JSON}")
    values = ['{"b" : 1, "a": [1.50, null]}', '"text"', '"{\\"a\\": 1}"', "12345678901234567890123", "false", "null"]
    expected = ['{"b":1,"a":[1.5,null]}', '"text"', '{"a":1}', '"12345678901234567890123"', "false", None]
    records = [f'{{"id":{number},"x":{value}}}' for number, value in enumerate(values)]
    assert read(table, *records) == ([(value,) for value in expected], [])
    assert read(table, '{"id":1,"x":"{"}', '{"id":2,"x":"\\ud800"}')[1] == ["wrong_type", "invalid_encoding"]
    assert read(table, '1,"{""a"": 1}"', "2,[1", "3,word", header="id,x") == (
        [('{"a":1}',), ('"word"',)],
        ["wrong_type"],
    )


def test_forms_inside_arrays_and_objects() -> None:
    table = table_of(
        "{name: days, logicalType: array, items: {logicalType: date, logicalTypeOptions: {format: d.M.yyyy}}}",
        "{name: at, logicalType: array, items:"
        " {logicalType: timestamp, customProperties: [{property: epoch, value: s}]}}",
        f"{{name: box, logicalType: object, properties: [{{name: n, logicalType: number, {EURO}}}]}}",
    )
    record = '{"id":1,"days":["1.5.2024"],"at":[1714564800,"1714564800"],"box":{"n":"1,5"}}'
    assert read(table, record) == ([([date(2024, 5, 1)], [NOON, NOON], {"n": Decimal("1.5")})], [])


def test_partitions_of_days_before_2000() -> None:
    table = table_of("{name: day, logicalType: date, partitioned: true}")
    assert read(table, "1,1998-07-09", "2,1959-12-31", header="id,day") == ([(date(1998, 7, 9),)], ["invalid_value"])
