"""Whole columns at once: values that are plainly clean become typed series, the others are left to the judge.

Each function here accepts a subset of what values.py accepts, and reads it to the same value; a property
test holds them together. `accepted` marks, row by row, what was read; the value of a row that is not
accepted means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from contracts.refusal import NotClean
from contracts.table import Column, Kind
from contracts.values import BOOLEANS, EARLIEST_PARTITION, EMAIL, bound, convert, latest_partition

__all__ = ["POLARS_TYPES", "polars_type", "read_column", "rules", "series_of"]

NUMERIC = pl.Decimal(38, 9)
TIMESTAMP = pl.Datetime("us", "UTC")
POLARS_TYPES = {
    Kind.STRING: pl.String(),
    Kind.INTEGER: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.NUMERIC: NUMERIC,
    Kind.BOOLEAN: pl.Boolean(),
    Kind.DATE: pl.Date(),
    Kind.TIMESTAMP: TIMESTAMP,
}
PLAIN_INTEGER = r"^([+-]?[0-9]{1,18})(?:\.0{1,20})?$"
PLAIN_NUMERIC = r"^[+-]?[0-9]{1,20}(?:\.[0-9]{1,9})?$"
PLAIN_FLOAT = r"^[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?$"
YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
DAY = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
"""Month and day that are in every year: all but the 29th of February."""
TIME = r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
OFFSET = r"[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
PLAIN_TIMESTAMP = f"^(?:(?:{YEAR}-{DAY}|{LEAP_YEAR}-02-29){TIME}Z?|[1-8][0-9]{{3}}-{DAY}{TIME}{OFFSET})$"
WITH_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$"
PLAIN_DATE = f"^{YEAR}" + r"-[0-9]{2}-[0-9]{2}$"
NOT_BLANK = r"[^\s\x1c-\x1f]"  # what Python's str.strip calls white space

Column_ = tuple[pl.Series, pl.Series | None]
"""A typed series and the Boolean series `accepted`, both one entry a row; None: all are accepted."""


def polars_type(column: Column) -> pl.DataType:
    """The type of the column in a data frame; a RECORD is a struct, a repeated column a list."""
    if column.kind is Kind.RECORD:
        single: pl.DataType = pl.Struct({field.name: polars_type(field) for field in column.fields})
    else:
        single = POLARS_TYPES[column.kind]
    return pl.List(single) if column.repeated else single


def read_column(column: Column, values: Sequence[object]) -> Column_:
    """Read `values` (one a row: text of a number, `str`, `int`, `bool`, parsed JSON for nested columns, or None)."""
    if column.repeated or column.kind is Kind.RECORD:
        return _nested(column, values)
    if column.kind is Kind.STRING:
        return _strings(column, values)
    if column.kind is Kind.BOOLEAN:
        return _booleans(column, values)
    texts = pl.Series(column.name, values, dtype=pl.String)
    return _TEXT_READERS[column.kind](texts)


@lru_cache(maxsize=4096)
def rules(column: Column, today: date | None = None) -> tuple[pl.Expr, ...]:
    """Conditions that are true for each row whose value keeps the column's rules; null counts as true.

    `today` bounds a partition column and is given for that column only.
    """
    name = pl.col(column.name)
    found: list[pl.Expr] = []
    if column.repeated or column.kind is Kind.RECORD:
        return ()  # read value by value, by the judge's own rules
    if column.derived is not None and column.kind is Kind.FLOAT:
        found.append(name.is_finite())
    if column.required:
        found.append(name.is_not_null())
        if column.kind is Kind.STRING:
            found.append(name.str.contains(NOT_BLANK))
    if column.enum:
        found.append(name.cast(pl.String).is_in(list(column.enum)))
    if column.min_length is not None:
        found.append(name.str.len_chars() >= column.min_length)
    if column.max_length is not None:
        found.append(name.str.len_chars() <= column.max_length)
    if column.pattern is not None:
        found.append(_matches(name, re.compile(column.pattern).search))
    if column.email:
        found.append(_matches(name, EMAIL.fullmatch))
    found += _number_rules(column, name)
    if column.earliest is not None:
        found.append(name >= bound(column, column.earliest))
    if column.latest is not None:
        found.append(name <= bound(column, column.latest))
    if today is not None:
        moment = (
            name.cast(TIMESTAMP)
            if column.kind is Kind.TIMESTAMP
            else name.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        )
        found.append((moment >= EARLIEST_PARTITION) & (moment < latest_partition(today)))
    return tuple(found)


def _matches(name: pl.Expr, match: Callable[[str], re.Match[str] | None]) -> pl.Expr:
    """Python's own regular expressions, value by value: polars' differ."""

    def found(texts: pl.Series) -> pl.Series:
        return pl.Series(texts.name, [text is None or match(text) is not None for text in texts], dtype=pl.Boolean)

    return name.map_batches(found, return_dtype=pl.Boolean())


def _number_rules(column: Column, name: pl.Expr) -> list[pl.Expr]:
    def at(limit: Decimal, rounding: str) -> pl.Expr:
        if column.kind is Kind.FLOAT:
            return pl.lit(float(limit))
        if column.kind is Kind.INTEGER:
            return pl.lit(int(limit.to_integral_value(rounding=rounding)))
        return pl.lit(limit)

    found: list[pl.Expr] = []
    if column.minimum is not None:
        found.append(name >= at(column.minimum, "ROUND_CEILING"))
    if column.maximum is not None:
        found.append(name <= at(column.maximum, "ROUND_FLOOR"))
    if column.exclusive_minimum is not None:
        found.append(name > at(column.exclusive_minimum, "ROUND_FLOOR"))
    if column.exclusive_maximum is not None:
        found.append(name < at(column.exclusive_maximum, "ROUND_CEILING"))
    return found


def _strings(column: Column, values: Sequence[object]) -> Column_:
    try:
        return pl.Series(column.name, values, dtype=pl.String), None
    except (TypeError, OverflowError):  # integers among them; 0 may have been written -0, so it goes to the judge
        texts = [str(value) if isinstance(value, int) else value for value in values]
        accepted = pl.Series([value != 0 for value in values], dtype=pl.Boolean)
        return pl.Series(column.name, texts, dtype=pl.String), accepted


def _booleans(column: Column, values: Sequence[object]) -> Column_:
    typed = [BOOLEANS.get(value.lower()) if isinstance(value, str) else value for value in values]
    accepted = [(got is None) == (value is None) for got, value in zip(typed, values, strict=True)]
    return pl.Series(column.name, typed, dtype=pl.Boolean), pl.Series(accepted, dtype=pl.Boolean)


def _integers(texts: pl.Series) -> Column_:
    typed = texts.str.extract(PLAIN_INTEGER, 1).str.strip_prefix("+").cast(pl.Int64, strict=False)
    return typed, typed.is_not_null() | texts.is_null()


def _numerics(texts: pl.Series) -> Column_:
    plain = texts.str.contains(PLAIN_NUMERIC).fill_null(False)
    typed = pl.select(pl.when(plain).then(texts.str.strip_prefix("+"))).to_series().cast(NUMERIC, strict=False)
    return typed.alias(texts.name), typed.is_not_null() | texts.is_null()


def _floats(texts: pl.Series) -> Column_:
    plain = texts.str.contains(PLAIN_FLOAT).fill_null(False)
    typed = pl.select(pl.when(plain).then(texts.str.strip_prefix("+"))).to_series().cast(pl.Float64, strict=False)
    return typed.alias(texts.name), (typed.is_not_null() & typed.is_finite()) | texts.is_null()


def _timestamps(texts: pl.Series) -> Column_:
    """Arrow reads plain timestamps several times as fast as polars; it wants a zone with each."""
    text = pl.col(texts.name)
    plain = texts.str.contains(PLAIN_TIMESTAMP)
    zoned = text
    if (plain & ~texts.str.ends_with("Z")).any():
        zoned = pl.when(text.str.contains(WITH_ZONE)).then(text).otherwise(text + "Z")
    certain = texts.to_frame().select_seq(pl.when(plain).then(zoned)).to_series()
    moments = pc.cast(certain.to_arrow().cast(pa.string()), pa.timestamp("us", "UTC"))
    return pl.Series(texts.name, moments), plain.fill_null(True)


def _dates(texts: pl.Series) -> Column_:
    plain = texts.str.contains(PLAIN_DATE).fill_null(False)
    typed = pl.select(pl.when(plain).then(texts)).to_series().str.to_date("%Y-%m-%d", strict=False)
    return typed.alias(texts.name), typed.is_not_null() | texts.is_null()


def _one_by_one(column: Column, values: Sequence[object] | pl.Series) -> tuple[pl.Series, pl.Series]:
    typed: list[object] = []
    accepted: list[bool] = []
    for value in values:
        try:
            typed.append(convert(column, value))
            accepted.append(True)
        except NotClean:
            typed.append(None)
            accepted.append(False)
    return series_of(column, typed), pl.Series(accepted, dtype=pl.Boolean)


def _nested(column: Column, values: Sequence[object]) -> Column_:
    return _one_by_one(column, values)


def series_of(column: Column, values: Sequence[object]) -> pl.Series:
    """A typed series of values that `convert` made."""
    if column.kind is Kind.TIMESTAMP and not column.repeated:  # naive ones are quicker to take in
        naive = [value.replace(tzinfo=None) if isinstance(value, datetime) else None for value in values]
        return pl.Series(column.name, naive, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.Series(column.name, values, dtype=polars_type(column), strict=True)


_TEXT_READERS = {
    Kind.INTEGER: _integers,
    Kind.NUMERIC: _numerics,
    Kind.FLOAT: _floats,
    Kind.TIMESTAMP: _timestamps,
    Kind.DATE: _dates,
}
