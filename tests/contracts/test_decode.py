"""Decoding: every form of "What is clean", and a record's fate depends on the record alone."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.decoding.csv_rows import CsvHeader, parse_header
from contracts.decoding.decoder import Block, Decoded, Decoder, Format
from contracts.odcs.expressions import check_expression
from contracts.table import Column, CsvDialect, Kind, Table, UnknownFields

TODAY = date(2024, 6, 15)
ID = Column("id", Kind.STRING, required=True)


def table(*columns: Column, unknown: UnknownFields = UnknownFields.IGNORE, partition: str | None = None) -> Table:
    return Table("t", (ID, *columns), ("id",), partition=partition, unknown_fields=unknown)


def decode(of: Table, *records: bytes, header: CsvHeader | None = None) -> Decoded:
    positions = np.arange(len(records), dtype=np.int64) * 10
    format = Format.CSV if header else Format.JSON
    return Decoder(of, lambda: TODAY).decode(Block("s", format, list(records), positions, header))


def fate(of: Table, record: bytes, header: CsvHeader | None = None) -> object:
    """The row by column name, or code and field of the refusal."""
    decoded = decode(of, record, header=header)
    assert len(decoded.rows) + len(decoded.refusals) == 1
    if decoded.refusals:
        assert decoded.refusals[0].raw == record
        return decoded.refusals[0].code.value, decoded.refusals[0].field
    return {name: value for name, value in decoded.rows.row(0, named=True).items() if not name.startswith("_hash")}


def value_of(result: object) -> object:
    return result["x"] if isinstance(result, dict) else result[0]  # type: ignore[index]


WRONG, INVALID, MISSING, BROKEN = "wrong_type", "invalid_value", "missing_required", "malformed_json"
NOON = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
NUMERIC_MAX = Decimal("99999999999999999999999999999.999999999")

JSON_FORMS = [
    (Kind.INTEGER, "3", 3),
    (Kind.INTEGER, "3.0", 3),
    (Kind.INTEGER, "3e2", 300),
    (Kind.INTEGER, "-0", 0),
    (Kind.INTEGER, "3.5", WRONG),
    (Kind.INTEGER, str(2**63 - 1), 2**63 - 1),
    (Kind.INTEGER, str(-(2**63)), -(2**63)),
    (Kind.INTEGER, str(2**63), INVALID),
    (Kind.INTEGER, "1e400", INVALID),
    (Kind.INTEGER, "1e999999999", INVALID),
    (Kind.INTEGER, '"3"', 3),
    (Kind.INTEGER, '"+3.0"', 3),
    (Kind.INTEGER, '"\\u0033"', 3),
    (Kind.INTEGER, '""', WRONG),
    (Kind.INTEGER, '" 3"', WRONG),
    (Kind.INTEGER, '"three"', WRONG),
    (Kind.INTEGER, '"NaN"', INVALID),
    (Kind.INTEGER, '"٣"', WRONG),
    (Kind.INTEGER, "true", WRONG),
    (Kind.INTEGER, "[1]", WRONG),
    (Kind.INTEGER, "{}", WRONG),
    (Kind.INTEGER, "null", None),
    (Kind.INTEGER, "007", BROKEN),
    (Kind.INTEGER, "NaN", BROKEN),
    (Kind.INTEGER, "-Infinity", BROKEN),
    (Kind.NUMERIC, "0.1", Decimal("0.1")),
    (Kind.NUMERIC, "1e-10", Decimal(0)),
    (Kind.NUMERIC, "0.0000000005", Decimal("1e-9")),
    (Kind.NUMERIC, "-0.0000000005", Decimal("-1e-9")),
    (Kind.NUMERIC, "-0", Decimal(0)),
    (Kind.NUMERIC, "1e3", Decimal(1000)),
    (Kind.NUMERIC, str(NUMERIC_MAX), NUMERIC_MAX),
    (Kind.NUMERIC, "99999999999999999999999999999.9999999995", INVALID),
    (Kind.NUMERIC, "1e29", INVALID),
    (Kind.NUMERIC, "1e400", INVALID),
    (Kind.NUMERIC, '"12.50"', Decimal("12.5")),
    (Kind.NUMERIC, '"1,5"', WRONG),
    (Kind.NUMERIC, '"Infinity"', INVALID),
    (Kind.NUMERIC, "false", WRONG),
    (Kind.FLOAT, "0.1", 0.1),
    (Kind.FLOAT, "1e400", INVALID),
    (Kind.FLOAT, "1e-400", 0.0),
    (Kind.FLOAT, '"1e3"', 1000.0),
    (Kind.FLOAT, '"nan"', INVALID),
    (Kind.FLOAT, '"-inf"', INVALID),
    (Kind.FLOAT, '"x"', WRONG),
    (Kind.BOOLEAN, "true", True),
    (Kind.BOOLEAN, "false", False),
    (Kind.BOOLEAN, '"Yes"', True),
    (Kind.BOOLEAN, '"0"', False),
    (Kind.BOOLEAN, "1", WRONG),
    (Kind.BOOLEAN, "0", WRONG),
    (Kind.BOOLEAN, '""', WRONG),
    (Kind.STRING, '"a"', "a"),
    (Kind.STRING, '""', ""),
    (Kind.STRING, '"a\\u0000b"', "a\0b"),
    (Kind.STRING, '"\\ud83d\\ude00"', "\U0001f600"),
    (Kind.STRING, '"\\ud800"', "invalid_encoding"),
    (Kind.STRING, "12", "12"),
    (Kind.STRING, "-0", "-0"),
    (Kind.STRING, "1" * 30, "1" * 30),
    (Kind.STRING, "1.0", WRONG),
    (Kind.STRING, "1e2", WRONG),
    (Kind.STRING, "true", WRONG),
    (Kind.STRING, "[]", WRONG),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00Z"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29 12:00:00"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T12:00"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T14:30:00+02:30"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00.000001Z"', NOON + timedelta(microseconds=1)),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00.5-00:00"', NOON + timedelta(milliseconds=500)),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00.0000009Z"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00.000000000009Z"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00.0000000000009Z"', WRONG),
    (Kind.TIMESTAMP, '"2024-02-29 12:00:00 UTC"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29 12:00:00.0 GMT"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29 14:00:00 +02"', NOON),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00  Z"', WRONG),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:00 CET"', WRONG),
    (Kind.TIMESTAMP, '"2023-02-29T12:00:00Z"', WRONG),
    (Kind.TIMESTAMP, '"0000-01-01T00:00:00Z"', WRONG),
    (Kind.TIMESTAMP, '"0001-01-01T00:00:00+01:00"', INVALID),
    (Kind.TIMESTAMP, '"2024-02-29T24:00:00Z"', WRONG),
    (Kind.TIMESTAMP, '"2024-02-29T12:00:60Z"', WRONG),
    (Kind.TIMESTAMP, '"2024-02-29"', WRONG),
    (Kind.TIMESTAMP, '"1709208000"', WRONG),
    (Kind.TIMESTAMP, "1709208000", WRONG),
    (Kind.TIMESTAMP, '""', WRONG),
    (Kind.DATE, '"2024-02-29"', date(2024, 2, 29)),
    (Kind.DATE, '"0000-01-01"', WRONG),
    (Kind.DATE, '"2023-02-29"', WRONG),
    (Kind.DATE, '"2024-2-9"', WRONG),
    (Kind.DATE, '"20240229"', WRONG),
    (Kind.DATE, '"2024-02-29T00:00:00"', WRONG),
    (Kind.DATE, "20240229", WRONG),
]


@pytest.mark.parametrize(("kind", "text", "expected"), JSON_FORMS)
def test_json_forms(kind: Kind, text: str, expected: object) -> None:
    found = value_of(fate(table(Column("x", kind)), f'{{"id":"1","x":{text}}}'.encode()))
    assert (found, type(found)) == (expected, type(expected))


CSV_FORMS = [
    (Kind.INTEGER, "", None),
    (Kind.INTEGER, "3.0", 3),
    (Kind.INTEGER, "3.1", WRONG),
    (Kind.INTEGER, "007", 7),
    (Kind.INTEGER, str(2**63), INVALID),
    (Kind.INTEGER, "NULL", WRONG),
    (Kind.NUMERIC, "1e400", INVALID),
    (Kind.NUMERIC, "12.3456789015", Decimal("12.345678902")),
    (Kind.NUMERIC, "abc", WRONG),
    (Kind.FLOAT, "Infinity", INVALID),
    (Kind.FLOAT, "-0", -0.0),
    *((Kind.BOOLEAN, word, True) for word in ("true", "T", "yes", "Y", "1")),
    *((Kind.BOOLEAN, word, False) for word in ("FALSE", "f", "No", "n", "0")),
    (Kind.BOOLEAN, "2", WRONG),
    (Kind.BOOLEAN, "", None),
    (Kind.STRING, "", None),
    (Kind.STRING, " a ", " a "),
    (Kind.STRING, "a\0b", "a\0b"),
    (Kind.STRING, 'say "a,\nb"', 'say "a,\nb"'),
    (Kind.TIMESTAMP, "2024-02-29T12:00:00+0000", NOON),
    (Kind.TIMESTAMP, "29.02.2024 12:00", WRONG),
    (Kind.DATE, "2024-02-29", date(2024, 2, 29)),
    (Kind.DATE, "2024-02-30", WRONG),
]


def csv_line(*fields: str) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="").writerow(fields)
    return sink.getvalue().encode()


@pytest.mark.parametrize(("kind", "text", "expected"), CSV_FORMS)
def test_csv_forms(kind: Kind, text: str, expected: object) -> None:
    header = parse_header(b"id,x", CsvDialect())
    found = value_of(fate(table(Column("x", kind)), csv_line("1", text), header))
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("text", ["null", '""', '" \\t\\n"', '"\\u00a0\\u2003"'])
def test_a_required_string_must_have_a_visible_character(text: str) -> None:
    assert fate(table(), f'{{"id":{text}}}'.encode()) == (MISSING, "id")
    assert fate(table(), b"{}") == (MISSING, "id")


RULES = [
    (Column("x", Kind.STRING, enum=("a", "b")), '"a"', '"c"'),
    (Column("x", Kind.INTEGER, enum=("1", "2")), "2", "3"),
    (Column("x", Kind.STRING, min_length=2), '"éé"', '"é"'),
    (Column("x", Kind.STRING, max_length=2), '"éé"', '"abc"'),
    (Column("x", Kind.STRING, pattern="b+c"), '"abbcd"', '"abd"'),
    (Column("x", Kind.STRING, email=True), '"a@b.co"', '"a@b"'),
    (Column("x", Kind.STRING, email=True), '"a.b+c@d.e.co"', '"a b@c.de"'),
    (Column("x", Kind.INTEGER, minimum=Decimal(0), maximum=Decimal(130)), "0", "-1"),
    (Column("x", Kind.INTEGER, minimum=Decimal(0), maximum=Decimal(130)), "130", "131"),
    (Column("x", Kind.INTEGER, minimum=Decimal("0.5")), "1", "0"),
    (Column("x", Kind.INTEGER, exclusive_minimum=Decimal(0)), "1", "0"),
    (Column("x", Kind.INTEGER, exclusive_maximum=Decimal("9.5")), "9", "10"),
    (Column("x", Kind.NUMERIC, minimum=Decimal(0), maximum=Decimal(1)), "1.0", "1.000000001"),
    (Column("x", Kind.NUMERIC, exclusive_maximum=Decimal(1)), "0.999999999", "1"),
    (Column("x", Kind.FLOAT, maximum=Decimal("0.1")), "0.1", "0.2"),
    (Column("x", Kind.DATE, earliest="2020-01-01", latest="2020-12-31"), '"2020-12-31"', '"2021-01-01"'),
    (Column("x", Kind.TIMESTAMP, earliest="2020-01-01T00:00:00Z"), '"2020-01-01T00:00:00Z"', '"2019-12-31T23:59:59Z"'),
]


@pytest.mark.parametrize(("column", "good", "bad"), RULES)
def test_a_rule_is_kept_or_broken(column: Column, good: str, bad: str) -> None:
    assert isinstance(fate(table(column), f'{{"id":"1","x":{good}}}'.encode()), dict)
    assert fate(table(column), f'{{"id":"1","x":{bad}}}'.encode()) == (INVALID, "x")


@pytest.mark.parametrize(
    ("moment", "clean"),
    [
        ("1960-01-01T00:00:00Z", True),
        ("1959-12-31T23:59:59.999999Z", False),
        ("1960-01-01T00:00:00+01:00", False),
        ("2024-06-16T23:59:59.999999Z", True),
        ("2024-06-17T00:00:00Z", False),
    ],
)
def test_a_partition_lies_between_1960_and_tomorrow(moment: str, clean: bool) -> None:
    for column, text in ((Column("x", Kind.TIMESTAMP), moment), (Column("x", Kind.DATE), moment[:10])):
        expected = clean or (column.kind is Kind.DATE and "+" in moment)
        found = fate(table(column, partition="x"), f'{{"id":"1","x":"{text}"}}'.encode())
        assert isinstance(found, dict) if expected else found == (INVALID, "x")


def test_the_first_column_in_the_contracts_order_names_the_refusal() -> None:
    of = table(Column("n", Kind.INTEGER), Column("d", Kind.DATE), unknown=UnknownFields.REJECT)
    assert fate(of, b'{"z":1,"d":"no","n":"no","id":"1"}') == (WRONG, "n")
    assert fate(of, b'{"z":1,"d":"no","n":"no"}') == (MISSING, "id")
    assert fate(of, b'{"z":1,"n":1,"id":"1"}') == ("unknown_field", "z")


def test_unknown_fields_are_ignored_rejected_or_kept() -> None:
    record = b'{"id":"1","z":{"deep":[1.50,"a"]}}'
    header = parse_header(b"id,z", CsvDialect())
    assert fate(table(), record) == {"id": "1", "_position": 0}
    assert fate(table(unknown=UnknownFields.REJECT), record) == ("unknown_field", "z")
    assert fate(table(unknown=UnknownFields.REJECT), b"1,2", header) == ("unknown_field", "z")
    kept = fate(table(unknown=UnknownFields.KEEP), record)
    assert isinstance(kept, dict)
    assert json.loads(kept["_extra"]) == {"z": {"deep": ["1.50", "a"]}}
    kept = fate(table(unknown=UnknownFields.KEEP), b"1,2", header)
    assert isinstance(kept, dict)
    assert json.loads(kept["_extra"]) == {"z": "2"}
    clean = fate(table(unknown=UnknownFields.KEEP), b'{"id":"1"}')
    assert isinstance(clean, dict)
    assert clean["_extra"] is None


ITEMS = Column(
    "items",
    Kind.RECORD,
    repeated=True,
    fields=(Column("sku", Kind.STRING, required=True), Column("price", Kind.NUMERIC, minimum=Decimal(0))),
)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ('[{"sku":"a","price":"1.5"},{"sku":"b"}]', [("a", Decimal("1.5")), ("b", None)]),
        ("[]", []),
        ("null", []),
        ('"[{\\"sku\\":\\"a\\"}]"', [("a", None)]),
        ('[{"price":1}]', (MISSING, "items[0].sku")),
        ('[{"sku":"a"},{"sku":"b","price":-1}]', (INVALID, "items[1].price")),
        ('[{"sku":"a"},null]', (MISSING, "items[1]")),
        ('{"sku":"a"}', (WRONG, "items")),
        ("[1]", (WRONG, "items[0]")),
    ],
)
def test_nested_columns(items: str, expected: object) -> None:
    found = fate(table(ITEMS), f'{{"id":"1","items":{items}}}'.encode())
    if isinstance(found, dict):
        found = [(item["sku"], item["price"]) for item in found["items"]]
    assert found == expected


def test_values_come_from_their_source_paths() -> None:
    of = table(Column("x", Kind.STRING, source=("user", "id")), Column("y", Kind.INTEGER, source=("user", "n")))
    assert fate(of, b'{"id":"1","user":{"id":"u","n":2}}') == {"id": "1", "x": "u", "y": 2, "_position": 0}
    for user in (b"null", b"3", b"{}", b"[]"):
        assert fate(of, b'{"id":"1","user":' + user + b"}") == {"id": "1", "x": None, "y": None, "_position": 0}


def test_derived_columns_follow_the_contracts_order() -> None:
    of = table(
        Column("total", Kind.NUMERIC, derived="n * price"), Column("n", Kind.INTEGER), Column("price", Kind.NUMERIC)
    )
    decoded = decode(of, b'{"id":"1","n":2,"price":1.5}', b'{"id":"2","n":2}')
    assert decoded.rows.columns[:4] == ["id", "total", "n", "price"]
    assert decoded.rows["total"].to_list() == [Decimal(3), None]


def test_an_overflow_in_a_derived_column_refuses_one_row() -> None:
    of = table(
        Column("n", Kind.INTEGER), Column("price", Kind.NUMERIC), Column("total", Kind.NUMERIC, derived="n * price")
    )
    record = b'{"id":"%d","n":%d,"price":99999999999999999999}'
    decoded = decode(of, record % (1, 1), record % (2, 2**62), record % (3, 2))
    assert decoded.rows["id"].to_list() == ["1", "3"]
    assert [(each.code.value, each.field, each.position) for each in decoded.refusals] == [(INVALID, "total", 10)]


def test_a_wrapped_integer_in_a_derived_column_is_refused() -> None:
    of = table(Column("n", Kind.INTEGER), Column("four", Kind.INTEGER, derived="n * 4"))
    decoded = decode(of, b'{"id":"1","n":1}', b'{"id":"2","n":%d}' % 2**62)
    assert decoded.rows["four"].to_list() == [4]
    assert [(each.code.value, each.field) for each in decoded.refusals] == [(INVALID, "four")]


@pytest.mark.parametrize(
    ("kind", "expression", "value"),
    [
        (Kind.BOOLEAN, "n * m > 0", True),
        (Kind.STRING, "CAST(n * m AS VARCHAR)", "12000000000000000000"),
        (Kind.STRING, "CASE WHEN n + m < n * m THEN 'less' ELSE LEFT(id, n) END", "less"),
    ],
)
def test_integers_do_not_wrap_where_the_value_is_no_number(kind: Kind, expression: str, value: object) -> None:
    of = table(Column("n", Kind.INTEGER), Column("m", Kind.INTEGER), Column("v", kind, derived=expression))
    assert check_expression(of, of.column("v")) == ""
    decoded = decode(of, b'{"id":"1","n":3000000000,"m":4000000000}', b'{"id":"2"}')
    assert decoded.rows["v"][0] == value
    assert len(decoded.rows) == 2


@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.FLOAT])
def test_integers_inside_an_expression_do_not_wrap(kind: Kind) -> None:
    expression = "n * m * price" if kind is Kind.NUMERIC else "n * m * rate"
    of = table(
        Column("n", Kind.INTEGER),
        Column("m", Kind.INTEGER),
        Column("price", Kind.NUMERIC),
        Column("rate", Kind.FLOAT),
        Column("total", kind, derived=expression),
    )
    decoded = decode(of, b'{"id":"1","n":3000000000,"m":4000000000,"price":1.5,"rate":1.5}')
    assert decoded.rows["total"].to_list() == [18_000_000_000_000_000_000]


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        (Kind.TIMESTAMP, "ts + INTERVAL '1 day'"),
        (Kind.DATE, "CAST(ts AS DATE) + INTERVAL '1 day'"),
        (Kind.TIMESTAMP, "ts - INTERVAL '1 day'"),
        (Kind.DATE, "CAST(ts AS DATE) - INTERVAL '1 day'"),
    ],
)
def test_a_derived_time_outside_of_the_years_of_bigquery_is_refused(kind: Kind, expression: str) -> None:
    of = table(Column("ts", Kind.TIMESTAMP), Column("t", kind, derived=expression))
    edge = b"9999-12-31" if "+" in expression else b"0001-01-01"
    record = b'{"id":"1","ts":"%sT12:00:00Z"}'
    decoded = decode(of, record % b"2024-02-28", record % edge, b'{"id":"1"}')
    assert [str(value)[:8] for value in decoded.rows["t"].to_list()] == ["2024-02-", "None"]
    ((code, message),) = [(each.code.value, each.message) for each in decoded.refusals]
    assert (code, message.endswith("breaks a rule of the contract")) == (INVALID, True)


def test_a_derived_value_that_breaks_its_rule_is_refused() -> None:
    of = table(Column("n", Kind.INTEGER), Column("m", Kind.INTEGER, derived="n - 1", minimum=Decimal(0)))
    decoded = decode(of, b'{"id":"1","n":1}', b'{"id":"2","n":0}')
    assert decoded.rows["m"].to_list() == [0]
    assert [(each.code.value, each.field) for each in decoded.refusals] == [(INVALID, "m")]


DEEP = 100_000
WHOLE = [
    (b"[1,2]", (BROKEN, None)),
    (b"3", (BROKEN, None)),
    (b'"a"', (BROKEN, None)),
    (b"{", (BROKEN, None)),
    (b'{"id":"1"} {"id":"2"}', (BROKEN, None)),
    (b'{"id":"\xff"}', ("invalid_encoding", None)),
    (b'{"id":"1","other":"\xff"}', ("invalid_encoding", None)),
    (b'{"id":"1","other":1e400}', {"id": "1", "x": None, "_position": 0}),
    (b'{"id":"1","other":NaN}', (BROKEN, None)),
    (b'{"id":"1","x":1,"x":2}', {"id": "1", "x": 2, "_position": 0}),
    (b'{"id":"1","x":"bad","x":2}', {"id": "1", "x": 2, "_position": 0}),
    (b'{"id":"1","x":1,"x":"bad"}', (WRONG, "x")),
    (b'{"id":"1","other":"\\ud800"}', {"id": "1", "x": None, "_position": 0}),
    (b'{"id":"1","x":' + b"[" * DEEP + b"]" * DEEP + b"}", (BROKEN, None)),
    (b'{"id":"1","other":' + b"[" * DEEP + b"]" * DEEP + b"}", (BROKEN, None)),
    (b'{"id":"1","other":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", (BROKEN, None)),
    (b'{"id":"1","other":' + b"[" * 199 + b"]" * 199 + b"}", {"id": "1", "x": None, "_position": 0}),
    (b'{"id":"1","other":' + b"[" * 200 + b"]" * 200 + b"}", (BROKEN, None)),
    (b'{"id":"1","other":"' + b"[" * DEEP + b'"}', {"id": "1", "x": None, "_position": 0}),
    (b'{"id":"1\x00"}', (BROKEN, None)),
]


@pytest.mark.parametrize(("record", "expected"), WHOLE, ids=[str(number) for number in range(len(WHOLE))])
def test_whole_records(record: bytes, expected: object) -> None:
    of = table(Column("x", Kind.INTEGER))
    assert fate(of, record) == expected
    decoded = decode(of, b'{"id":"0"}', record, b'{"id":"9"}')
    assert {"0", "9"} <= set(decoded.rows["id"]), "a neighbour is harmed"


CSV_RECORDS = [
    (b"1", "malformed_csv"),
    (b"1,2,3", "malformed_csv"),
    (b'1,"a', "malformed_csv"),
    (b'1,"a"b', "malformed_csv"),
    (b"1,\xff", "invalid_encoding"),
    (b"1,a\rb", "malformed_csv"),
]


@pytest.mark.parametrize(("record", "code"), CSV_RECORDS)
def test_broken_csv_records_leave_their_neighbours(record: bytes, code: str) -> None:
    decoded = decode(
        table(Column("x", Kind.STRING)), b"0,a", record, b"9,b", header=parse_header(b"id,x", CsvDialect())
    )
    assert decoded.rows["id"].to_list() == ["0", "9"]
    assert [each.code.value for each in decoded.refusals] == [code]


def test_dialect_nulls_and_encoding() -> None:
    dialect = CsvDialect(";", "'", "latin-1", ("NULL", "-"))
    header = parse_header("x;id".encode("latin-1"), dialect)
    of = table(Column("x", Kind.STRING))
    assert [fate(of, raw.encode("latin-1"), header) for raw in ("NULL;1", "-;2", "'é;';3")] == [
        {"id": "1", "x": None, "_position": 0},
        {"id": "2", "x": None, "_position": 0},
        {"id": "3", "x": "é;", "_position": 0},
    ]


def test_a_column_named_twice_refuses_every_record() -> None:
    header = parse_header(b"id,x,x", CsvDialect())
    assert fate(table(Column("x", Kind.STRING)), b"1,2,3", header) == ("malformed_csv", None)


# A record's outcome depends on the record alone, and columns give the same as the row-wise validator.

KINDS = [Column("c", kind) for kind in Kind if kind is not Kind.RECORD]
COLUMNS = st.sampled_from(
    [
        *KINDS,
        Column("c", Kind.INTEGER, minimum=Decimal(0), exclusive_maximum=Decimal("9.5")),
        Column("c", Kind.NUMERIC, minimum=Decimal("0.1"), maximum=Decimal(100)),
        Column("c", Kind.FLOAT, minimum=Decimal("0.1"), exclusive_maximum=Decimal(100)),
        Column("c", Kind.STRING, enum=("a", "0", "é")),
        Column("c", Kind.STRING, required=True, min_length=1, max_length=3),
        Column("c", Kind.INTEGER, required=True),
        Column("c", Kind.STRING, email=True),
        Column("c", Kind.STRING, source=("u", "v")),
        Column("c", Kind.INTEGER, source=("u", "w")),
        Column("c", Kind.STRING, repeated=True),
        Column("c", Kind.STRING, pattern=r"^[a-c0-9.]+$"),
        Column("c", Kind.RECORD, fields=(Column("a", Kind.STRING), Column("b", Kind.NUMERIC, repeated=True))),
        ITEMS,
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = [
        Column(
            f"c{number}",
            column.kind,
            **{
                name: getattr(column, name)
                for name in Column.__slots__
                if name not in ("name", "kind", "source", "derived", "description")
            },
            source=column.source and (*column.source[:-1], f"{column.source[-1]}{number}"),
        )
        for number, column in enumerate(draw(st.lists(COLUMNS, min_size=1, max_size=4)))
    ]
    partition = next((c.name for c in columns if c.kind in (Kind.DATE, Kind.TIMESTAMP) and not c.repeated), None)
    return table(*columns, unknown=draw(st.sampled_from(UnknownFields)), partition=partition)


TEXTS = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-0",
        "1",
        "5",
        "9.50",
        "3.0",
        "0.1",
        "1e2",
        "1e400",
        "nan",
        "100",
        "a",
        "é",
        "abcd",
        "a@b.co",
        "true",
        "2024-02-29",
        "2024-02-30",
        "0000-01-01",
        "1999-01-01",
        "2024-02-29T12:00:00",
        "2024-02-29 12:00:00.123Z",
        "2024-02-29T12:00+02",
        "\x1c",
        "\u0085",
        "99999999999999999999999999999.9",
        "1" * 19,
        "\\u0031",
        '["a"]',
        'a,\nb"c',
    ]
)
NUMBERS = ["0", "-0", "1", "3.0", "0.1", "1e2", "1e400", "9.5", "1" * 19, "1" * 40, "0.0000000005", "100", "1.50E1"]
VALUES = st.one_of(
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(NUMBERS),
    st.sampled_from(
        ["null", "true", "false", "[]", "{}", '["a"]', '[{"sku":"a","price":1}]', '"\\ud800"', "NaN", "[null]"]
    ),
    st.sampled_from(
        ['{"a":"x","b":[1.5]}', '{"!":1,"b":[1]}', '{"a":"x","\\ud800":1}', '[{"sku":"a","!":1}]', '"{\\"!\\":1}"']
    ),
)


@st.composite
def json_records(draw: st.DrawFn, of: Table) -> bytes:
    fields = [f'"id":{draw(st.sampled_from(["1", "2"]) | VALUES)}']
    for column in of.columns[1:]:
        if draw(st.integers(0, 9)):
            *above, last = column.path
            fields.append("".join(f'"{step}":{{' for step in above) + f'"{last}":{draw(VALUES)}' + "}" * len(above))
    if draw(st.booleans()):
        fields.append(f'"other":{draw(VALUES)}')
    return mutated(draw, ("{" + ",".join(fields) + "}").encode())


def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    if draw(st.integers(0, 3)):
        return raw
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=2) | st.sampled_from([b'"', b",", b"}", b"0", b"\\"])) + raw[at + 1 :]


@st.composite
def csv_records(draw: st.DrawFn, of: Table) -> bytes:
    return mutated(draw, csv_line(draw(st.sampled_from(["1", "2"])), *(draw(TEXTS) for _ in of.columns[1:])))


def fates(decoder: Decoder, block: Block) -> dict[int, object]:
    decoded = decoder.decode(block)
    rows = {row["_position"]: row for row in decoded.rows.iter_rows(named=True)}
    assert list(rows) == sorted(rows)
    refused = {each.position: (each.code, each.field, each.message, each.raw) for each in decoded.refusals}
    assert len(rows) + len(refused) == block.count
    return {**rows, **refused}


def validated(decoder: Decoder, block: Block) -> dict[int, object]:
    """What the row-wise validator alone makes of the block's records."""
    slow = Decoder(decoder.table, lambda: TODAY)
    slow._read_columns = lambda block: (None, [])  # type: ignore[method-assign]
    return fates(slow, block)


def same_together_and_alone(of: Table, records: list[bytes], header: CsvHeader | None) -> None:
    decoder = Decoder(of, lambda: TODAY)
    format = Format.CSV if header else Format.JSON
    positions = np.arange(len(records), dtype=np.int64)
    block = Block("s", format, records, positions, header)
    together = fates(decoder, block)
    alone: dict[int, object] = {}
    for number, record in enumerate(records):
        alone |= fates(decoder, Block("s", format, [record], positions[number : number + 1], header))
    assert repr(sorted(together.items())) == repr(sorted(alone.items()))
    assert repr(sorted(together.items())) == repr(sorted(validated(decoder, block).items()))


PROPERTY = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@given(st.data())
@PROPERTY
def test_json_records_meet_the_same_fate_together_alone_and_under_the_validator(data: st.DataObject) -> None:
    of = data.draw(tables())
    same_together_and_alone(of, data.draw(st.lists(json_records(of), min_size=1, max_size=5)), None)


@given(st.data())
@PROPERTY
def test_csv_records_meet_the_same_fate_together_alone_and_under_the_validator(data: st.DataObject) -> None:
    of = data.draw(tables())
    names = [column.path[0] for column in of.columns]
    header = parse_header(csv_line(*names), CsvDialect())
    records = [raw for raw in data.draw(st.lists(csv_records(of), min_size=1, max_size=5)) if raw.strip()]
    same_together_and_alone(of, records, header)
