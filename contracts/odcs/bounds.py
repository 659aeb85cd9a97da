"""The bounds of numbers and of points in time that logicalTypeOptions state.

`exclusiveMinimum` is a flag on `minimum` in v3.0 of the standard and a separate bound since v3.1; both are understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.odcs.document import Place
from contracts.odcs.yaml_text import decimal_of
from contracts.table import Column, Kind

__all__ = ["BOUNDS", "with_number_bounds", "with_time_bounds"]

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
INTEGER_FORMAT = re.compile(r"(i)(8|16|32)|(u)(8|16|32)")


def with_number_bounds(place: Place, column: Column, options: Mapping[str, Any]) -> Column:
    """Return the column with the bounds and the step of a number."""
    bounds: dict[str, Decimal | None] = dict.fromkeys(BOUNDS)
    for name in BOUNDS:
        value = options.get(name)
        if value is None or _is_flag(name, value):
            continue
        bounds[name] = decimal_of(value)
        if bounds[name] is None:
            raise place.error(f"logicalTypeOptions.{name}", f"must be a number, not {value!r}")
    _move_flagged(place, options, bounds)
    low, high = bounds["minimum"], bounds["maximum"]
    if column.kind is Kind.INTEGER and options.get("format") not in (None, "i64"):
        least, greatest = _integer_range(place, options["format"])
        low, high = max(least, low if low is not None else least), min(greatest, high if high is not None else greatest)
    above, below = bounds["exclusiveMinimum"], bounds["exclusiveMaximum"]
    for lower, upper, empty in ((low, high, False), (low, below, True), (above, high, True), (above, below, True)):
        if lower is not None and upper is not None and (lower > upper or (empty and lower == upper)):
            raise place.error("logicalTypeOptions", f"leaves no value between {lower} and {upper}")
    column = replace(column, minimum=low, maximum=high, exclusive_minimum=above, exclusive_maximum=below)
    return replace(column, multiple_of=_multiple_of(place, column, options.get("multipleOf")))


def _multiple_of(place: Place, column: Column, value: object) -> Decimal | None:
    if value is None:
        return None
    construct = "logicalTypeOptions.multipleOf"
    step, digits = decimal_of(value), {Kind.INTEGER: 0, Kind.NUMERIC: 9, Kind.BIGNUMERIC: 38}.get(column.kind)
    if digits is None:
        raise place.error(construct, f"is not supported for {column.kind.value}, which is not exact")
    if step is None or step <= 0:
        raise place.error(construct, f"must be a number greater than 0, not {value!r}")
    if step != round(step, digits):
        raise place.error(construct, f"{value!r} has more than the {digits} decimals of {column.kind.value}")
    return step.normalize()


def _integer_range(place: Place, name: object) -> tuple[Decimal, Decimal]:
    match = INTEGER_FORMAT.fullmatch(str(name))
    if match is None:
        problem = f"{name!r} is not supported for integer; i8 to i64 and u8 to u32 are"
        raise place.error("logicalTypeOptions.format", problem)
    if match[1]:
        return Decimal(-(2 ** (int(match[2]) - 1))), Decimal(2 ** (int(match[2]) - 1) - 1)
    return Decimal(0), Decimal(2 ** int(match[4]) - 1)


def _is_flag(name: str, value: object) -> bool:
    return isinstance(value, bool) and name.startswith("exclusive")


def _move_flagged(place: Place, options: Mapping[str, Any], bounds: dict[str, Any]) -> None:
    """Where `exclusiveMinimum` is a flag (v3.0), turn `minimum` into the exclusive bound."""
    for plain, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if options.get(exclusive) is True:
            if bounds[plain] is None:
                raise place.error(f"logicalTypeOptions.{exclusive}", f"is true without a {plain}")
            bounds[exclusive], bounds[plain] = bounds[plain], None


def with_time_bounds(place: Place, column: Column, options: Mapping[str, Any]) -> Column:
    """Return the column with bounds as inclusive ISO 8601 texts.

    An exclusive bound is moved by a day (DATE) or a microsecond (TIMESTAMP).
    """
    dates = column.kind is Kind.DATE
    bounds: dict[str, date | None] = dict.fromkeys(BOUNDS)
    for name in BOUNDS:
        if options.get(name) is not None and not _is_flag(name, options[name]):
            bounds[name] = _moment(place, name, options[name], dates)
    _move_flagged(place, options, bounds)
    step = timedelta(days=1) if dates else timedelta(microseconds=1)
    try:
        lows = [bounds["minimum"], bounds["exclusiveMinimum"] and bounds["exclusiveMinimum"] + step]
        highs = [bounds["maximum"], bounds["exclusiveMaximum"] and bounds["exclusiveMaximum"] - step]
    except OverflowError:
        raise place.error("logicalTypeOptions", "has an exclusive bound at the end of the calendar") from None
    earliest = max((bound for bound in lows if bound), default=None)
    latest = min((bound for bound in highs if bound), default=None)
    if earliest and latest and earliest > latest:
        raise place.error("logicalTypeOptions", f"leaves no value between {earliest} and {latest}")
    if column.kind is Kind.DATETIME:
        earliest, latest = (
            bound.replace(tzinfo=None) if isinstance(bound, datetime) else bound for bound in (earliest, latest)
        )
    return replace(
        column, earliest=earliest.isoformat() if earliest else None, latest=latest.isoformat() if latest else None
    )


def _moment(place: Place, name: str, text: object, dates: bool) -> date:
    try:
        if dates:
            return date.fromisoformat(str(text))
        moment = datetime.fromisoformat(str(text))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        wanted = "a date (YYYY-MM-DD)" if dates else "an ISO 8601 timestamp"
        raise place.error(f"logicalTypeOptions.{name}", f"must be {wanted}, not {text!r}") from None
