"""The fast path: read whole columns, and accept the values that are certainly clean.

Each function here accepts a subset of what values.py accepts and reads it to the same value; a property test compares
the two. `accepted` says for each row whether its value was read. The value of a row that is not accepted has no
meaning: the validator (validate.py) reads that record again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

import polars as pl

from contracts.decoding.time_columns import TIMESTAMP, read_times
from contracts.decoding.values import BOOLEANS, EARLIEST_PARTITION, bound, latest_partition, validate_value
from contracts.patterns import EMAIL, MAX_MATCHED_BYTES
from contracts.refusal import NotClean
from contracts.table import Column, Kind

__all__ = ["POLARS_TYPES", "all_hold", "polars_type", "read_column", "rule_conditions", "series_of"]

NUMERIC = pl.Decimal(38, 9)
NINE_DECIMALS = 9
POLARS_TYPES = {
    Kind.STRING: pl.String(),
    Kind.INTEGER: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.NUMERIC: NUMERIC,
    Kind.BIGNUMERIC: pl.String(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.BYTES: pl.Binary(),
    Kind.DATE: pl.Date(),
    Kind.DATETIME: pl.Datetime("us"),
    Kind.TIME: pl.String(),
    Kind.TIMESTAMP: TIMESTAMP,
    Kind.JSON: pl.String(),
}
"""The types of columns in a data frame. BIGNUMERIC, TIME and JSON are canonical texts until they are stored."""
ONE_BY_ONE = (Kind.RECORD, Kind.BIGNUMERIC, Kind.BYTES, Kind.JSON)
"""Kinds whose values are read one by one."""
PLAIN_INTEGER = r"^([+-]?[0-9]{1,18})(?:\.0{0,20})?$"
PLAIN_NUMERIC = r"^[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})$"
PLAIN_FLOAT = r"^[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?$"
MAX_DERIVED_BYTES = 1_000_000
"""The maximum size of a derived text: a short record must not become a row of hundreds of megabytes."""
TIMES = (Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.TIMESTAMP)
NOT_BLANK = r"[^\s\x1c-\x1f]"  # \s and these four are what str.strip removes

ReadColumn = tuple[pl.Series, pl.Series | None]
"""A typed series and the Boolean series `accepted`, each with one entry per row; None if all are accepted."""


def polars_type(column: Column) -> pl.DataType:
    """Return the type of the column in a data frame: a struct for a RECORD, a list for a repeated column."""
    if column.kind is Kind.RECORD:
        single: pl.DataType = pl.Struct({field.name: polars_type(field) for field in column.fields})
    else:
        single = POLARS_TYPES[column.kind]
    return pl.List(single) if column.repeated else single


def read_column(column: Column, values: Sequence[object]) -> ReadColumn:
    """Read `values`, one per row: the text of a number, `str`, `int`, `bool`, None, or parsed JSON for a RECORD."""
    if column.repeated or column.kind in ONE_BY_ONE:
        return _one_by_one(column, values)
    if column.kind is Kind.STRING:
        return _strings(column, values)
    if column.kind is Kind.BOOLEAN:
        return _booleans(column, values)
    texts = pl.Series(column.name, values, dtype=pl.String)
    if column.kind in TIMES:
        return read_times(column, texts)
    if column.number_format is None:
        return _NUMBER_READERS[column.kind](column, texts)
    typed, _ = _NUMBER_READERS[column.kind](column, column.number_format.plain_column(texts))
    return typed, typed.is_not_null() | texts.is_null()


@lru_cache(maxsize=4096)
def rule_conditions(column: Column, today: date | None = None) -> tuple[pl.Expr, ...]:
    """Return the rules of the column as conditions: false for a row whose value breaks one, true or null else.

    `today` bounds a partition column; pass it for that column only.
    """
    if column.repeated or column.kind in ONE_BY_ONE:
        return ()  # _one_by_one has checked the rules
    name = pl.col(column.name)
    conditions = _derived_rules(column, name) if column.derived is not None else []
    if column.required:
        conditions.append(name.is_not_null())
        if column.kind is Kind.STRING:
            conditions.append(name.str.contains(NOT_BLANK))
    if column.enum:
        conditions.append(name.cast(pl.String).is_in(list(column.enum)))
    conditions += [*_text_rules(column, name), *_number_rules(column, name), *_date_rules(column, name)]
    if today is not None:
        moment = name if column.kind is Kind.TIMESTAMP else name.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        conditions.append((moment >= EARLIEST_PARTITION) & (moment < latest_partition(today)))
    return tuple(conditions)


def all_hold(frame: pl.DataFrame, conditions: Sequence[pl.Expr | pl.Series]) -> pl.Series:
    """Return for each row of `frame` whether it meets every condition; null counts as met."""
    holds = pl.all_horizontal(pl.lit(True), *conditions).fill_null(True)
    return frame.with_columns(holds.alias("")).get_column("")


def _derived_rules(column: Column, name: pl.Expr) -> list[pl.Expr]:
    if column.kind is Kind.FLOAT:
        return [name.is_finite()]
    if column.kind is Kind.STRING:
        return [name.str.len_bytes() <= MAX_DERIVED_BYTES]
    if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP):
        return [name.dt.year().is_between(1, 9999)]  # another year would fail the whole load of the table
    return []


def _text_rules(column: Column, name: pl.Expr) -> list[pl.Expr]:
    rules: list[pl.Expr] = []
    if column.min_length is not None:
        rules.append(name.str.len_chars() >= column.min_length)
    if column.max_length is not None:
        rules.append(name.str.len_chars() <= column.max_length)
    if column.pattern is not None:
        short = name.str.len_bytes() <= MAX_MATCHED_BYTES
        rules += [short, pl.when(short).then(name).str.contains(column.pattern)]
    if column.email:
        rules.append(name.str.contains(EMAIL))
    return rules


def _date_rules(column: Column, name: pl.Expr) -> list[pl.Expr]:
    rules: list[pl.Expr] = []
    if column.earliest is not None:
        rules.append(name >= bound(column, column.earliest))
    if column.latest is not None:
        rules.append(name <= bound(column, column.latest))
    return rules


def _number_rules(column: Column, name: pl.Expr) -> list[pl.Expr]:
    def at(limit: Decimal, rounding: str) -> pl.Expr:
        if column.kind is Kind.FLOAT:
            return pl.lit(float(limit))
        if column.kind is Kind.INTEGER:
            return pl.lit(int(limit.to_integral_value(rounding=rounding)))
        return pl.lit(limit)

    conditions: list[pl.Expr] = []
    if column.minimum is not None:
        conditions.append(name >= at(column.minimum, "ROUND_CEILING"))
    if column.maximum is not None:
        conditions.append(name <= at(column.maximum, "ROUND_FLOOR"))
    if column.exclusive_minimum is not None:
        conditions.append(name > at(column.exclusive_minimum, "ROUND_FLOOR"))
    if column.exclusive_maximum is not None:
        conditions.append(name < at(column.exclusive_maximum, "ROUND_CEILING"))
    if column.multiple_of is not None:
        steps = column.multiple_of if column.kind is Kind.INTEGER else column.multiple_of.scaleb(NINE_DECIMALS)
        conditions.append(name.to_physical().cast(pl.Int128) % int(steps) == 0)
    return conditions


def _strings(column: Column, values: Sequence[object]) -> ReadColumn:
    try:
        return pl.Series(column.name, values, dtype=pl.String), None
    except (TypeError, OverflowError):  # there are integers; 0 may have been written as -0, so the validator reads it
        texts = [str(value) if isinstance(value, int) else value for value in values]
        accepted = pl.Series([value != 0 for value in values], dtype=pl.Boolean)
        return pl.Series(column.name, texts, dtype=pl.String), accepted


def _booleans(column: Column, values: Sequence[object]) -> ReadColumn:
    typed = [BOOLEANS.get(value.lower()) if isinstance(value, str) else value for value in values]
    accepted = [(boolean is None) == (value is None) for boolean, value in zip(typed, values, strict=True)]
    return pl.Series(column.name, typed, dtype=pl.Boolean), pl.Series(accepted, dtype=pl.Boolean)


def _integers(_column: Column, texts: pl.Series) -> ReadColumn:
    typed = texts.str.extract(PLAIN_INTEGER, 1).str.strip_prefix("+").cast(pl.Int64, strict=False)
    return typed, typed.is_not_null() | texts.is_null()


def _numerics(column: Column, texts: pl.Series) -> ReadColumn:
    form = PLAIN_NUMERIC if column.precision is None else plain_numeric(column.precision, column.scale)
    plain = texts.str.contains(form).fill_null(False)
    typed = pl.select(pl.when(plain).then(texts.str.strip_prefix("+"))).to_series().cast(NUMERIC, strict=False)
    return typed.alias(texts.name), typed.is_not_null() | texts.is_null()


def plain_numeric(precision: int, scale: int) -> str:
    """The regular expression of numbers that NUMERIC(precision, scale) certainly holds without rounding."""
    whole = max(1, min(20, precision - scale))
    if not scale:
        return rf"^[+-]?[0-9]{{1,{whole}}}\.?$"
    return rf"^[+-]?(?:[0-9]{{1,{whole}}}(?:\.[0-9]{{0,{scale}}})?|\.[0-9]{{1,{scale}}})$"


def _floats(_column: Column, texts: pl.Series) -> ReadColumn:
    plain = texts.str.contains(PLAIN_FLOAT).fill_null(False)
    typed = pl.select(pl.when(plain).then(texts.str.strip_prefix("+"))).to_series().cast(pl.Float64, strict=False)
    return typed.alias(texts.name), (typed.is_not_null() & typed.is_finite()) | texts.is_null()


def _one_by_one(column: Column, values: Sequence[object] | pl.Series) -> tuple[pl.Series, pl.Series]:
    typed: list[object] = []
    accepted: list[bool] = []
    for value in values:
        try:
            typed.append(validate_value(column, value))
            accepted.append(True)
        except NotClean:
            typed.append(None)
            accepted.append(False)
    return series_of(column, typed), pl.Series(accepted, dtype=pl.Boolean)


def series_of(column: Column, values: Sequence[object]) -> pl.Series:
    """Return a typed series of values from `validate_value`."""
    if column.kind is Kind.TIMESTAMP and not column.repeated:  # polars converts naive values faster
        naive = [value.replace(tzinfo=None) if isinstance(value, datetime) else None for value in values]
        return pl.Series(column.name, naive, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.Series(column.name, values, dtype=polars_type(column), strict=True)


_NUMBER_READERS = {Kind.INTEGER: _integers, Kind.NUMERIC: _numerics, Kind.FLOAT: _floats}
