"""Every form of a value: what is read as whole columns is what the validator reads value by value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.date_format import DateFormat
from contracts.decoding.columns import all_hold, read_column, rule_conditions
from contracts.decoding.json_text import Number
from contracts.decoding.values import validate_value
from contracts.number_format import NumberFormat
from contracts.refusal import NotClean
from contracts.table import Column, Epoch, Kind

EURO = NumberFormat(",", ".", ("€", "EUR", "%"))
SPACED = NumberFormat(".", "\u202f")
FORMATS = (
    *("dd.MM.yyyy", "d.M.yy", "yyyyMMdd", "MM/dd/yyyy HH:mm", "d MMM yyyy h:mm a", "MMMM d, y", "EEE, dd MMM yyyy"),
    *("yyyy-MM-dd'T'HH:mm:ss[.SSS]X", "dd-MM-uuuu HH:mm:ss.SSSSSSSSS", "yyyy-MM-dd HH:mm:ss Z"),
)
COLUMNS = [
    *(Column("x", kind) for kind in Kind if kind is not Kind.RECORD),
    *(Column("x", kind, time_zone="Europe/Berlin") for kind in (Kind.TIMESTAMP,)),
    *(Column("x", Kind.TIMESTAMP, time_zone="America/St_Johns", date_format=DateFormat(text)) for text in FORMATS),
    *(Column("x", kind, date_format=DateFormat(text)) for text in FORMATS for kind in (Kind.DATE, Kind.TIMESTAMP)),
    *(Column("x", Kind.DATETIME, date_format=DateFormat(text)) for text in FORMATS[:6]),
    *(Column("x", Kind.TIME, date_format=DateFormat(text)) for text in ("HH:mm", "h:mm a", "HHmmss")),
    *(Column("x", kind, epoch=unit) for unit in Epoch for kind in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP)),
    *(
        Column("x", kind, number_format=number)
        for number in (EURO, SPACED)
        for kind in (Kind.INTEGER, Kind.NUMERIC, Kind.FLOAT, Kind.BIGNUMERIC)
    ),
    Column("x", Kind.NUMERIC, precision=5, scale=2, number_format=EURO),
    *(Column("x", kind, precision=5, scale=2) for kind in (Kind.NUMERIC, Kind.BIGNUMERIC)),
    *(Column("x", kind, precision=3) for kind in (Kind.NUMERIC, Kind.BIGNUMERIC)),
    Column("x", Kind.BIGNUMERIC, minimum=Decimal(0), exclusive_maximum=Decimal(100)),
]
YEARS = ("2024", "24", "1969", "2023", "1883", "0001", "9999", "2037", "2100")
MONTHS = ("03", "3", "10", "Mar", "mar", "October", "02", "13", "1")
DAYS = ("31", "27", "29", "1", "01", "30")
CLOCKS = (
    "02:30",
    "02:30:00",
    "2:30",
    "02:30:00,25",
    "00:00:00,000",
    "023000.25",
    "2:30 am",
    "12:05 PM",
    "023000",
    "23:59:59.123456789",
    "02:30:00.5",
    "24:00",
    "00:00:00.000",
)
ZONES = (
    *("", "Z", " UTC", "+02:00", "+0200", " +02", " GMT", "-03:30", " CET", "z", " utc", " +0000 UTC", "UTC"),
    *("+02:00[Europe/Berlin]", "Z[UTC]", "[Europe/Berlin]", "+02:00 UTC", ",5", "\n"),
)
DATES = st.builds(
    lambda y, m, d, order, mark: mark.join([y, m, d] if order else [d, m, y]),
    st.sampled_from(YEARS),
    st.sampled_from(MONTHS),
    st.sampled_from(DAYS),
    st.booleans(),
    st.sampled_from("-./ "),
)
MOMENTS = st.builds(
    lambda day, between, clock, zone: day + between + clock + zone,
    DATES,
    st.sampled_from(["T", " ", "", "t"]),
    st.sampled_from(CLOCKS),
    st.sampled_from(ZONES),
)
OTHERS = st.sampled_from(
    [
        "20240331T023000Z",
        "20240331t023000,5",
        "2024/03-31",
        "20240331",
        "March 31, 2024",
        "Sun, 31 Mar 2024",
        "Mon, 31 Mar 2024",
        "31 Mar 2024 2:30 am",
    ]
)
NUMBERS = st.builds(
    lambda sign, before, digits, after: sign + before + digits + after,
    st.sampled_from(["", "-", "+", "€ ", "- €"]),
    st.sampled_from(["", "€", " "]),
    st.from_regex(
        r"[0-9]{1,4}([.,'\u202f][0-9]{3}){0,2}([.,][0-9]{1,12})?|[0-9]{1,20}(e[0-9])?|[0-9]{1,3}[.,]|[.,][0-9]{1,12}(e-?[0-9]{1,12})?|[0-9]e0000000[0-9]{3}",
        fullmatch=True,
    ),
    st.sampled_from(["", " €", "%", "EUR", "\n"]),
)
EPOCHS = st.integers(-(10**20), 10**20).map(str) | st.sampled_from(
    ["1714564800", "1714564800.25", "19723", "-1", "-1500"]
)
JSON = st.sampled_from(
    ['{"a": 1.10}', "[1,", "null", "x", '"x"', "e30=", "e30", "12:30", "12:30:15.250000", "9:30", ""]
)
TEXTS = DATES | MOMENTS | OTHERS | NUMBERS | EPOCHS | JSON


def validated(column: Column, value: object) -> object:
    try:
        return validate_value(column, value)
    except NotClean as problem:
        return problem


@settings(max_examples=400)
@given(st.sampled_from(COLUMNS), st.lists(TEXTS | st.none(), min_size=1, max_size=20))
def test_a_column_reads_the_values_that_the_validator_reads(column: Column, texts: list[str | None]) -> None:
    series, accepted = read_column(column, texts)
    accepts = [True] * len(texts) if accepted is None else accepted.to_list()
    for text, value, plain in zip(texts, series.to_list(), accepts, strict=True):
        if plain:
            assert value == validated(column, text), (column, text)


TIDY: list[tuple[Column, str, object]] = [
    (Column("x", Kind.TIMESTAMP), "2024-05-01 12:00:00.123456 UTC", datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)),
    (Column("x", Kind.TIMESTAMP), "2024-05-01 14:00:00 +02", datetime(2024, 5, 1, 12, tzinfo=UTC)),
    (Column("x", Kind.TIMESTAMP), "2024-05-01T12:00:00.123456999999Z", datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)),
    (Column("x", Kind.TIMESTAMP, time_zone="Europe/Berlin"), "2024-05-01 14:00", datetime(2024, 5, 1, 12, tzinfo=UTC)),
    (Column("x", Kind.TIMESTAMP, epoch=Epoch.SECONDS), "1714564800", datetime(2024, 5, 1, 12, tzinfo=UTC)),
    (Column("x", Kind.TIMESTAMP, epoch=Epoch.NANOSECONDS), "-1", datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
    (Column("x", Kind.DATE, epoch=Epoch.DAYS), "19844", date(2024, 5, 1)),
    (Column("x", Kind.DATE, epoch=Epoch.MILLISECONDS), "-1", date(1969, 12, 31)),
    (Column("x", Kind.DATE, date_format=DateFormat("dd.MM.yyyy")), "31.12.2024", date(2024, 12, 31)),
    (Column("x", Kind.DATE), "1582-10-10", date(1582, 10, 10)),
    (Column("x", Kind.DATETIME), "1883-01-01T00:00:00", datetime(1883, 1, 1)),
    (Column("x", Kind.TIME), "12:30:15.500000", "12:30:15.500000"),
    (Column("x", Kind.TIME), "12:30", "12:30:00"),
    (Column("x", Kind.NUMERIC, number_format=EURO), "-1.234,56 €", Decimal("-1234.56")),
    (Column("x", Kind.NUMERIC, precision=5, scale=2), "123.45", Decimal("123.45")),
    (Column("x", Kind.JSON), '{"a": [1.10, 12345678901234567890123]}', '{"a":[1.1,"12345678901234567890123"]}'),
    (Column("x", Kind.BYTES), "AP8=", b"\x00\xff"),
    (
        Column("x", Kind.BIGNUMERIC),
        "1234567890123456789012345678901.12",
        "1234567890123456789012345678901.12" + "0" * 36,
    ),
]


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
EUROS = Column("x", Kind.NUMERIC, number_format=EURO)
WRITTEN: list[tuple[Column, str, object]] = [
    *(
        (Column("x", Kind.TIMESTAMP), text, NOON)
        for text in (
            *("2024-05-01t12:00:00z", "2024-05-01 12:00:00utc", "2024-05-01T12:00:00,000Z", "20240501T120000Z"),
            *("2024/05/01 12:00", "20240501T120000.0", "2024-05-01T14:00:00+02:00[Europe/Berlin]", "20240501T120000"),
            *("2024-05-01 12:00:00 +0000 UTC", "2024-05-01T12:00:00.000000999z"),
        )
    ),
    (Column("x", Kind.DATETIME), "2024/05/01 07:05:00,25", datetime(2024, 5, 1, 7, 5, 0, 250_000)),
    (Column("x", Kind.DATE), "2024/05/01", date(2024, 5, 1)),
    (Column("x", Kind.TIME), "07:05:00,25", "07:05:00.250000"),
    (Column("x", Kind.FLOAT), ".5", 0.5),
    (Column("x", Kind.FLOAT), "-5.", -5.0),
    (Column("x", Kind.FLOAT), "+5.e-1", 0.5),
    (Column("x", Kind.NUMERIC), "+.25", Decimal("0.25")),
    (Column("x", Kind.NUMERIC, precision=5, scale=2), "5.", Decimal(5)),
    (Column("x", Kind.NUMERIC, precision=5), "5.", Decimal(5)),
    (Column("x", Kind.INTEGER), "+5.", 5),
    (EUROS, "€ ,5", Decimal("0.5")),
    (EUROS, "1.234,", Decimal(1234)),
]


@pytest.mark.parametrize(("column", "text", "expected"), [*TIDY, *WRITTEN])
def test_a_common_form_is_read_as_a_column(column: Column, text: str, expected: object) -> None:
    series, accepted = read_column(column, [text, None])
    assert accepted is None or accepted.all()
    assert series.to_list() == [expected, None]
    assert validated(column, text) == expected


BERLIN = Column("x", Kind.TIMESTAMP, time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-31T01:59:59", "2024-03-31T00:59:59"),
        ("2024-03-31T02:30:00", "2024-03-31T01:30:00"),  # skipped: 03:30 of summer time
        ("2024-03-31T03:00:00", "2024-03-31T01:00:00"),
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00"),  # twice: the first
        ("2024-10-27T03:00:00", "2024-10-27T02:00:00"),
        ("2024-10-27T02:30:00Z", "2024-10-27T02:30:00"),
        ("2150-07-01T12:00:00", "2150-07-01T10:00:00"),
    ],
)
def test_changes_of_clocks_have_a_rule(text: str, utc: str) -> None:
    expected = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert validated(BERLIN, text) == expected
    series, accepted = read_column(BERLIN, [text])
    assert accepted is not None
    assert not accepted[0] or series[0] == expected


@pytest.mark.parametrize(
    ("column", "step", "texts", "clean"),
    [
        (Column("x", Kind.INTEGER), "5", ["10", "-5", "0", "7"], [True, True, True, False]),
        (Column("x", Kind.NUMERIC), "0.01", ["12.50", "-3", "0.015", "1e-9"], [True, True, False, False]),
        (Column("x", Kind.BIGNUMERIC), "1e-20", ["1e-20", "1e-21"], [True, False]),
    ],
)
def test_multiples(column: Column, step: str, texts: list[str], clean: list[bool]) -> None:
    column = replace(column, multiple_of=Decimal(step))
    assert [not isinstance(validated(column, text), NotClean) for text in texts] == clean
    series, accepted = read_column(column, texts)
    held = all_hold(series.to_frame(), rule_conditions(column)) & (True if accepted is None else accepted)
    assert all(fits for fits, holds in zip(clean, held, strict=True) if holds)
    assert held[0]


ONE_BY_ONE: list[tuple[Column, str, object]] = [
    (Column("x", Kind.INTEGER), "1e3", 1000),
    (Column("x", Kind.INTEGER), ".5e1", 5),
    (Column("x", Kind.NUMERIC), "1e0000003", Decimal(1000)),
    (Column("x", Kind.NUMERIC), "1e-00000000003", Decimal("0.001")),
    (Column("x", Kind.BIGNUMERIC, precision=5, scale=2), "+.5", "0.50"),
    (Column("x", Kind.FLOAT), "1e0000003", 1000.0),
]


@pytest.mark.parametrize(("column", "text", "expected"), ONE_BY_ONE)
def test_a_rare_form_is_read_by_the_validator(column: Column, text: str, expected: object) -> None:
    assert validated(column, text) == expected
    series, accepted = read_column(column, [text])
    assert accepted is not None
    assert not accepted[0] or series[0] == expected


REFUSED: list[tuple[Column, Any, str]] = [
    (Column("x", Kind.TIMESTAMP, epoch=Epoch.SECONDS), Number("1e20"), "invalid_value"),
    (Column("x", Kind.TIMESTAMP, epoch=Epoch.SECONDS), "2024-05-01T12:00:00Z", "wrong_type"),
    (Column("x", Kind.TIMESTAMP), Number("1714564800"), "wrong_type"),
    (Column("x", Kind.DATE, date_format=DateFormat("dd.MM.yyyy")), "31.02.2024", "wrong_type"),
    (Column("x", Kind.DATE, date_format=DateFormat("dd.MM.yyyy")), "2024-02-01", "wrong_type"),
    (Column("x", Kind.DATE, date_format=DateFormat("EEE, dd MMM yyyy")), "Mon, 31 Mar 2024", "invalid_value"),
    (Column("x", Kind.DATETIME), "2024-05-01T12:00:00Z", "wrong_type"),
    (Column("x", Kind.TIME), "24:00", "wrong_type"),
    *(
        (Column("x", kind), text, "wrong_type")
        for kind in (Kind.TIMESTAMP, Kind.DATE, Kind.DATETIME)
        for text in (
            *("2024-05/01", "24-5-1", "2024-5", "01/05/2024", "2024-05-01Z", "2024-05-01+02:00", "2024-02-30"),
            *("2024-05-01T12", "2024-05-01T12:00:00 CET", "2024-05-01T12:00:00[Europe/Berlin]", "2024-05-01\n"),
            *(
                "2024-5-1",
                "2024-5-1 12:00",
                "2024-05-01 7:05",
                "2024-05-01 2:30 pm",
                "20240501",
                "20240501120000",
                "2024-05-01T24:00:00",
                "2024-05-01T00:00:60",
            ),
        )
    ),
    (Column("x", Kind.DATE), "2024-05-01T00:00:00", "wrong_type"),
    (Column("x", Kind.TIMESTAMP), "2024-05-01", "wrong_type"),
    *((Column("x", Kind.NUMERIC), text, "wrong_type") for text in (".", "+", "1e", "e5", "1.2.3", ".e5", "5.\n")),
    (Column("x", Kind.NUMERIC, number_format=EURO), "1.5", "wrong_type"),
    (Column("x", Kind.NUMERIC, precision=5, scale=2), "1000", "invalid_value"),
    (Column("x", Kind.BIGNUMERIC, maximum=Decimal(9)), "10", "invalid_value"),
    (Column("x", Kind.BYTES), "no", "wrong_type"),
    (Column("x", Kind.BYTES), "ü", "wrong_type"),
    (Column("x", Kind.JSON), "{", "wrong_type"),
    (Column("x", Kind.JSON), {"a": "\ud800"}, "invalid_encoding"),
]


@pytest.mark.parametrize(("column", "value", "code"), REFUSED)
def test_a_value_of_another_form_is_refused(column: Column, value: Any, code: str) -> None:
    problem = validated(column, value)
    assert isinstance(problem, NotClean), problem
    assert problem.code.value == code


def test_a_json_number_is_not_in_the_number_format() -> None:
    column = Column("x", Kind.NUMERIC, number_format=EURO)
    assert validated(column, Number("1.234")) == Decimal("1.234")
    assert validated(column, "1.234") == Decimal(1234)


def test_numeric_with_parameters_is_rounded_to_its_scale() -> None:
    assert validated(Column("x", Kind.NUMERIC, precision=5, scale=2), "-1.005") == Decimal("-1.01")
    assert validated(Column("x", Kind.BIGNUMERIC, precision=5, scale=2), "1.005") == "1.01"
