"""What is read as whole columns is what the row-wise validator reads value by value."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.decoding.columns import read_column
from contracts.decoding.values import validate_value
from contracts.table import Column, Kind

MOMENT = Column("x", Kind.TIMESTAMP)
TIMESTAMPS = st.tuples(
    st.sampled_from(["0000", "0001", "0004", "0100", "0999", "1000", "1900", "2000", "2023", "2024", "8999", "9999"]),
    st.sampled_from(["-01-01", "-02-28", "-02-29", "-02-30", "-04-30", "-04-31", "-12-31", "-13-01", "-00-10", "-1-1"]),
    st.sampled_from(["T", " ", "t", ""]),
    st.sampled_from(["00:00", "23:59", "24:00", "12", "12:60", "9:00", "1200"]),
    st.sampled_from(["", ":00", ":59", ":60", ":5"]),
    st.sampled_from(["", ".0", ".000001", ".123456", ".1234567", ".", ",5"]),
    st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+0530", "-23:59", "+24:00", "+05:60", "+14", "+1", " Z", "\n"]),
).map("".join)


@given(st.lists(TIMESTAMPS | st.none(), min_size=1, max_size=30))
def test_a_timestamp_that_a_column_accepts_is_what_the_validator_reads(texts: list[str | None]) -> None:
    series, accepted = read_column(MOMENT, texts)
    held = [True] * len(texts) if accepted is None else accepted.to_list()
    for text, value, plain in zip(texts, series.to_list(), held, strict=True):
        if plain:
            assert value == validate_value(MOMENT, text)


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-28T12:00:00Z",
        "2024-02-28 12:00:00",
        "2024-02-28T12:00",
        "2024-02-28T14:00+02:00",
        "2024-02-28T09:00:00.000-03",
        "2024-02-28T12:00:00.000000+0000",
    ],
)
def test_every_common_form_of_a_timestamp_is_read_as_a_column(text: str) -> None:
    series, accepted = read_column(MOMENT, [text, "2024-02-29T23:59:59.5Z", "no", None])
    assert accepted is not None
    assert accepted.to_list() == [True, True, False, True]
    assert series[0] == datetime(2024, 2, 28, 12, tzinfo=UTC)
    assert series[1] == datetime(2024, 2, 29, 23, 59, 59, 500_000, tzinfo=UTC)
