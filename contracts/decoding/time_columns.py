"""Read whole columns of dates and times: the fast path of moments.py.

A text that is not in a common form is not accepted, and its record is left to the row-wise validator.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from contracts.decoding.written_forms import DATES, TIMES, TIMESTAMPS, Rewriting
from contracts.table import Column, Epoch, Kind

__all__ = ["TIMESTAMP", "read_times"]

TIMESTAMP = pl.Datetime("us", "UTC")
YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
DAY = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
"""A month and day that every year has: not 29 February."""
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
TIME = f"[T ]{CLOCK}"
OFFSET = r"[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
PLAIN_TIMESTAMP = f"^(?:(?:{YEAR}-{DAY}|{LEAP_YEAR}-02-29){TIME}Z?|[1-8][0-9]{{3}}-{DAY}{TIME}{OFFSET})$"
WITH_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$"
PLAIN_DATE = f"^{YEAR}" + r"-[0-9]{2}-[0-9]{2}$"
PLAIN_TIME = f"^{CLOCK}$"
EPOCH_DIGITS = {Epoch.DAYS: 6, Epoch.SECONDS: 11, Epoch.MILLISECONDS: 14, Epoch.MICROSECONDS: 17, Epoch.NANOSECONDS: 18}
"""The most digits of a whole number that is certainly within 64 bits of microseconds."""
FIRST_MICROSECOND, LAST_MICROSECOND = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999."""
FEW = 20
"""If at most one of this many texts is in another form, the validator reads them: that costs less."""
FIRST_YEAR, LAST_YEAR = 1970, 2036
"""The years in which polars and Python know the same changes of clocks."""

ReadColumn = tuple[pl.Series, pl.Series | None]


def read_times(column: Column, texts: pl.Series) -> ReadColumn:
    """Return the values of a DATE, DATETIME, TIME or TIMESTAMP column, and which of them were read."""
    if column.epoch:
        return _epochs(column, column.epoch, texts)
    written = texts
    if column.date_format:
        iso = column.date_format.iso_column(texts)
        texts = pl.Series(texts.name, [None] * len(texts), dtype=pl.String) if iso is None else iso
        if column.kind is Kind.DATE:
            texts = texts.str.slice(0, len("2024-05-01"))
        elif column.kind is Kind.TIME:
            texts = texts.str.strip_prefix("T")
    typed, accepted = _READERS[column.kind](column, texts)
    if column.date_format:
        accepted = typed.is_not_null() | written.is_null()
    return typed, accepted


def _timestamps(column: Column, texts: pl.Series) -> ReadColumn:
    """Read timestamps with Arrow: several times as fast as polars, but every text needs a zone."""
    texts, plain = _common(texts, PLAIN_TIMESTAMP, TIMESTAMPS)
    text = pl.col(texts.name)
    zoned = text
    if (plain & ~texts.str.ends_with("Z")).any():
        zoned = pl.when(text.str.contains(WITH_ZONE)).then(text).otherwise(text + "Z")
    certain = texts.to_frame().select_seq(pl.when(plain).then(zoned)).to_series()
    moments = pl.Series(
        texts.name, pc.cast(certain.to_arrow().cast(pa.string()), pa.timestamp("us", "UTC")), dtype=TIMESTAMP
    )
    if column.time_zone is None:
        return moments, plain.fill_null(True)
    local = _in_zone(moments, column.time_zone)
    unzoned = ~texts.str.contains(WITH_ZONE)
    typed = pl.select(pl.when(unzoned).then(local).otherwise(moments).alias(texts.name)).to_series()
    return typed, typed.is_not_null() | texts.is_null()


def _in_zone(moments: pl.Series, zone: str) -> pl.Series:
    """Return the moments at which clocks in a zone show what clocks in UTC show at `moments`; null if not certain."""
    name = pl.col(moments.name)
    certain = pl.when(name.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).then(name.dt.replace_time_zone(None))
    local = certain.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return moments.to_frame().select(local.dt.convert_time_zone("UTC")).to_series()


def _datetimes(column: Column, texts: pl.Series) -> ReadColumn:
    texts, _ = _common(texts, PLAIN_TIMESTAMP, TIMESTAMPS)
    zoned = texts.str.contains(WITH_ZONE).fill_null(False)
    if zoned.any():
        texts = pl.select(pl.when(~zoned).then(texts).alias(texts.name)).to_series()
    moments, accepted = _timestamps(column, texts)
    assert accepted is not None
    return moments.dt.replace_time_zone(None), accepted & ~zoned


def _dates(_column: Column, texts: pl.Series) -> ReadColumn:
    texts, plain = _common(texts, PLAIN_DATE, DATES)
    typed = pl.select(pl.when(plain).then(texts)).to_series().str.to_date("%Y-%m-%d", strict=False)
    return typed.alias(texts.name), typed.is_not_null() | texts.is_null()


def _times(_column: Column, texts: pl.Series) -> ReadColumn:
    """Return the times as text, `HH:MM:SS` with six digits of a fraction that is not zero."""
    texts, plain = _common(texts, PLAIN_TIME, TIMES)
    text = pl.when(plain).then(pl.col(texts.name))
    whole = pl.when(text.str.len_chars() == len("12:00")).then(text + ":00").otherwise(text)
    padded = pl.when(whole.str.contains(".", literal=True)).then(whole.str.pad_end(15, "0")).otherwise(whole)
    typed = texts.to_frame().select(padded.str.replace(r"\.0*$", "").alias(texts.name)).to_series()
    return typed, typed.is_not_null() | texts.is_null()


def _epochs(column: Column, epoch: Epoch, texts: pl.Series) -> ReadColumn:
    whole = texts.str.contains(f"^-?[0-9]{{1,{EPOCH_DIGITS[epoch]}}}$").fill_null(False)
    number = pl.when(whole).then(pl.col(texts.name)).cast(pl.Int64, strict=False)
    factor = {Epoch.DAYS: 86_400_000_000, Epoch.SECONDS: 1_000_000, Epoch.MILLISECONDS: 1_000}.get(epoch, 1)
    micros = number // 1_000 if epoch is Epoch.NANOSECONDS else number * factor
    certain = pl.when(micros.is_between(FIRST_MICROSECOND, LAST_MICROSECOND)).then(micros).cast(TIMESTAMP)
    types = {Kind.DATE: certain.dt.date(), Kind.DATETIME: certain.dt.replace_time_zone(None)}
    typed = texts.to_frame().select(types.get(column.kind, certain).alias(texts.name)).to_series()
    return typed, typed.is_not_null() | texts.is_null()


def _common(texts: pl.Series, form: str, rewriting: Rewriting) -> tuple[pl.Series, pl.Series]:
    """Bring texts into the common form, and say which of them have it; null for null."""
    plain = texts.str.contains(form)
    if (len(plain) - plain.null_count() - (plain.sum() or 0)) * FEW <= len(plain):
        return texts, plain
    others = (~plain).fill_null(False).arg_true()
    common = rewriting.common_column(texts[others])
    return texts.scatter(others, common), plain.scatter(others, common.str.contains(form))


_READERS: dict[Kind, Callable[[Column, pl.Series], ReadColumn]] = {
    Kind.DATE: _dates,
    Kind.DATETIME: _datetimes,
    Kind.TIME: _times,
    Kind.TIMESTAMP: _timestamps,
}
