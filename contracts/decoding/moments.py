"""Read one date or time. time_columns.py reads whole columns of them to the same values.

A fraction of a second may have up to 12 digits; those behind microseconds are cut off. A time of a zone that clocks
skip is read with the offset before the change, so it is one hour later on the clock after it. A time that clocks show
twice is the first of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

from contracts.decoding.json_text import Number
from contracts.decoding.problems import invalid, wrong_type
from contracts.decoding.written_forms import DATES, TIMES, TIMESTAMPS, Rewriting
from contracts.table import Column, Epoch

__all__ = ["MICROSECONDS", "NUMBER", "read_date", "read_datetime", "read_time", "read_timestamp"]

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?0*[0-9]{1,9})?")
CLOCK = r"([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,12})?)?)"
TIMESTAMP = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]{CLOCK}(Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(CLOCK)
WITH_FRACTION = len("12:00:00.123456")
MICROSECONDS = {
    Epoch.DAYS: Decimal(86_400_000_000),
    Epoch.SECONDS: Decimal(1_000_000),
    Epoch.MILLISECONDS: Decimal(1_000),
    Epoch.MICROSECONDS: Decimal(1),
    Epoch.NANOSECONDS: Decimal("0.001"),
}
"""Microseconds of one unit."""
EXACT = Context(prec=80)
EPOCH = datetime(1970, 1, 1)
OUTSIDE = "is outside the years 1 to 9999"
Moment = TypeVar("Moment")


def read_timestamp(column: Column, value: object, path: str) -> datetime:
    """Return the moment in UTC. A text without a zone is in the zone of the column. Raises NotClean."""
    moment = _moment(column, value, path, "a timestamp")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(column.time_zone) if column.time_zone else UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise invalid(path, value, OUTSIDE) from None


def read_datetime(column: Column, value: object, path: str) -> datetime:
    """Return the date and time as they are written, without a zone. Raises NotClean; a value with a zone is refused."""
    moment = _moment(column, value, path, "a date and time without a zone")
    if moment.tzinfo is not None:
        raise wrong_type(path, value, "a date and time without a zone")
    return moment


def read_date(column: Column, value: object, path: str) -> date:
    """Return the date as it is written; of an epoch the day in UTC. Raises NotClean."""
    if column.epoch:
        return _since_1970(column.epoch, value, path, "a date").date()
    text = _formatted(column, value, path, "a date")[: len("2024-05-01")] if column.date_format else value
    match = _match(DATES, DATE, text)
    if match is None:
        raise wrong_type(path, value, "a date")
    return _parsed(date.fromisoformat, match[0], value, path, "a date")


def read_time(column: Column, value: object, path: str) -> str:
    """Return the time of a day as `HH:MM:SS`, with six digits of a fraction that is not zero. Raises NotClean."""
    text = _formatted(column, value, path, "a time").partition("T")[2] if column.date_format else value
    match = _match(TIMES, TIME, text)
    if match is None:
        raise wrong_type(path, value, "a time")
    return _parsed(time.fromisoformat, match[0][:WITH_FRACTION], value, path, "a time").isoformat()


def _moment(column: Column, value: object, path: str, wanted: str) -> datetime:
    """Return the moment, without a zone if none is written."""
    if column.epoch:
        return _since_1970(column.epoch, value, path, wanted)
    text = _formatted(column, value, path, wanted) if column.date_format else value
    match = _match(TIMESTAMPS, TIMESTAMP, text)
    if match is None:
        raise wrong_type(path, value, wanted)
    day, clock, zone = match.groups()
    offset = "+00:00" if zone == "Z" else zone or ""
    return _parsed(datetime.fromisoformat, f"{day}T{clock[:WITH_FRACTION]}{offset}", value, path, wanted)


def _match(rewriting: Rewriting, form: re.Pattern[str], text: object) -> re.Match[str] | None:
    """Return the match of a text in a form, or in one that is rewritten; None for a number and for what is no text."""
    return rewriting.match(form, text) if isinstance(text, str) and not isinstance(text, Number) else None


def _parsed(read: Callable[[str], Moment], text: str, value: object, path: str, wanted: str) -> Moment:
    try:
        return read(text)
    except ValueError:
        raise wrong_type(path, value, wanted) from None


def _formatted(column: Column, value: object, path: str, wanted: str) -> str:
    """Return the ISO 8601 text of a value that is written in the format of the column."""
    assert column.date_format
    wanted = f"{wanted} in the format {column.date_format.pattern}"
    text = column.date_format.iso(value) if isinstance(value, str) and not isinstance(value, Number) else None
    if text is None:
        raise wrong_type(path, value, wanted)
    weekday = column.date_format.weekday(str(value))
    if weekday is not None and _parsed(date.fromisoformat, text[:10], value, path, wanted).weekday() != weekday:
        raise invalid(path, value, "names another day of the week")
    return text


def _since_1970(epoch: Epoch, value: object, path: str, wanted: str) -> datetime:
    """Return the moment of a number, or of its text, without a zone: it is in UTC."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise wrong_type(path, value, f"{wanted} as a number of {epoch.value} since 1970")
    number = Decimal(value)
    if number.adjusted() > 30:
        raise invalid(path, value, OUTSIDE)
    micros = int(EXACT.multiply(number, MICROSECONDS[epoch]).to_integral_value(ROUND_FLOOR, EXACT))
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise invalid(path, value, OUTSIDE) from None
