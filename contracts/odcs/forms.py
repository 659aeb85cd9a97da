"""How the values of a property are written: date formats, epochs, time zones, number formats, blanks.

The standard has `format`, `timezone` and `defaultTimezone` among its logicalTypeOptions. The rest are customProperties.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from contracts.date_format import DateFormat
from contracts.number_format import NumberFormat
from contracts.odcs.document import Place, check_keys
from contracts.table import Column, Epoch, Kind

__all__ = [
    "FORMS",
    "ITEM_FORMS",
    "OWN_PROPERTIES",
    "PATH_FORMS",
    "TABLE_PROPERTIES",
    "with_forms",
    "with_path_forms",
    "with_time_format",
]

ITEM_FORMS = ("epoch", "numberFormat")
"""customProperties of a property, and of the items of an array."""
FORMS = (*ITEM_FORMS, "trim")
PATH_FORMS = ("pathPart", "fileName")
"""customProperties of a column of the table itself."""
TABLE_PROPERTIES = (
    "dataset",
    "writeDisposition",
    "unknownFields",
    "versionBy",
    "clustering",
    "partition",
    "csv",
    "identity",
    "recordsPath",
    "files",
)
"""customProperties of a table."""
OWN_PROPERTIES = (*TABLE_PROPERTIES, "source", *PATH_FORMS, *FORMS)
"""All customProperties of this product; others are for other tools."""
ISO_DATE = r"([yYu]{4}|[yu])-MM-(dd|DD)"
ISO_TIME = r"(T|'T'| )HH:mm:ss(\.S{1,6})?(Z{1,5}|'Z'|X{1,3}|x{1,3})?"
UTC_NAMES = ("UTC", "Etc/UTC", "Etc/GMT", "GMT", "Z", "+00:00")
NUMBERS = (Kind.INTEGER, Kind.NUMERIC, Kind.BIGNUMERIC, Kind.FLOAT)


def with_time_format(place: Place, column: Column, options: Mapping[str, Any]) -> Column:
    """Return a DATE, DATETIME, TIME or TIMESTAMP column with its format and time zone. Raises UsageError.

    A format that is a form of ISO 8601 accepts all forms of ISO 8601.
    """
    column = replace(column, date_format=_date_format(place, column, options.get("format")))
    zoned = options.get("timezone")
    if not isinstance(zoned, bool | None):
        raise place.error("logicalTypeOptions.timezone", "must be true or false")
    if zoned and column.kind is Kind.DATETIME:
        raise place.error("logicalTypeOptions.timezone", "contradicts physicalType DATETIME, which has no zone")
    if zoned is not None and column.date_format and zoned != ("zone" in column.date_format.parts):
        letter = "has a letter of" if "zone" in column.date_format.parts else "has no letter of"
        problem = f"is {str(zoned).lower()}, but format {column.date_format.pattern!r} {letter} a zone"
        raise place.error("logicalTypeOptions.timezone", problem)
    name = options.get("defaultTimezone", "UTC")
    if name in UTC_NAMES:
        return column
    if column.kind is Kind.DATETIME:
        raise place.error("logicalTypeOptions.defaultTimezone", "contradicts physicalType DATETIME, which has no zone")
    if not isinstance(name, str) or name not in _zones():
        raise place.error("logicalTypeOptions.defaultTimezone", f"{name!r} is not the name of a zone: Europe/Berlin")
    return replace(column, time_zone=name)


def with_forms(place: Place, column: Column, given: Mapping[str, Any]) -> Column:
    """Return the column with `epoch`, `numberFormat` and `trim` of its customProperties. Raises UsageError."""
    if "epoch" in given:
        column = replace(column, epoch=_epoch(place, column, given["epoch"]))
    if "numberFormat" in given:
        column = replace(column, number_format=_number_format(place, column, given["numberFormat"]))
    trim = given.get("trim", False)
    if not isinstance(trim, bool):
        raise place.error("customProperties trim", f"must be true or false, not {trim!r}")
    return replace(column, trim=trim)


def with_path_forms(place: Place, column: Column, given: Mapping[str, Any]) -> Column:
    """Return the column with `pathPart` and `fileName` of its customProperties. Raises UsageError."""
    part, named = given.get("pathPart"), given.get("fileName", False)
    if not isinstance(named, bool):
        raise place.error("customProperties fileName", f"must be true or false, not {named!r}")
    if part is not None and (not isinstance(part, str) or not part or "/" in part or "=" in part):
        raise place.error("customProperties pathPart", f"must be the name of a folder `name=value`, not {part!r}")
    if part is None and not named:
        return column
    construct = "customProperties pathPart" if part is not None else "customProperties fileName"
    if part is not None and named:
        raise place.error(construct, "contradicts customProperties fileName")
    if "source" in given:
        raise place.error(construct, "contradicts customProperties source")
    if column.repeated or column.kind in (Kind.RECORD, Kind.JSON):
        raise place.error(construct, "is for single values")
    if named and column.kind is not Kind.STRING:
        raise place.error(construct, f"is for a string, not for {column.kind.value}")
    return replace(column, path_part=part, file_name=named)


def _date_format(place: Place, column: Column, pattern: object) -> DateFormat | None:
    construct = "logicalTypeOptions.format"
    iso = {Kind.DATE: ISO_DATE, Kind.TIME: "HH:mm:ss"}.get(column.kind, ISO_DATE + ISO_TIME)
    if pattern is None or re.fullmatch(iso, str(pattern)):
        return None
    if not isinstance(pattern, str):
        raise place.error(construct, f"must be a text, not {pattern!r}")
    try:
        date_format = DateFormat(pattern)
    except ValueError as problem:
        raise place.error(construct, f"{pattern!r} {problem}") from None
    missing = "hour" if column.kind is Kind.TIME else "year"
    if missing not in date_format.parts:
        raise place.error(construct, f"{pattern!r} has no {missing}, but the column is a {column.kind.value}")
    if "zone" in date_format.parts and column.kind in (Kind.DATETIME, Kind.TIME):
        raise place.error(construct, f"{pattern!r} has a zone, but the column is a {column.kind.value}")
    return date_format


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _epoch(place: Place, column: Column, value: object) -> Epoch:
    construct = "customProperties epoch"
    if column.kind not in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP):
        raise place.error(construct, f"is for dates and timestamps, not for {column.kind.value}")
    units = [unit.value for unit in Epoch]
    if value not in units:
        raise place.error(construct, f"must be one of {', '.join(units)}, not {value!r}")
    if column.date_format:
        raise place.error(construct, f"contradicts logicalTypeOptions.format {column.date_format.pattern!r}")
    if column.time_zone:
        raise place.error(construct, f"contradicts logicalTypeOptions.defaultTimezone {column.time_zone}: it is in UTC")
    if value == Epoch.DAYS.value and column.kind is not Kind.DATE:
        raise place.error(construct, "days is for dates only")
    return Epoch(value)


def _number_format(place: Place, column: Column, value: object) -> NumberFormat:
    construct = "customProperties numberFormat"
    if column.kind not in NUMBERS:
        raise place.error(construct, f"is for numbers, not for {column.kind.value}")
    if not isinstance(value, dict):
        raise place.error(construct, f"must be a mapping of decimal, group and strip, not {value!r}")
    check_keys(place, value, ("decimal", "group", "strip"), ("decimal", "group", "strip"), construct)
    strip = value.get("strip") or []
    strip = [strip] if isinstance(strip, str) else strip
    texts = [value.get("decimal", "."), value.get("group") or "", *(strip if isinstance(strip, list) else [strip])]
    if not all(isinstance(text, str) for text in texts):
        raise place.error(construct, f"must have texts (in quotes), not {value!r}")
    try:
        return NumberFormat(texts[0], texts[1], tuple(texts[2:]))
    except ValueError as problem:
        raise place.error(construct, f"is not valid: {problem}") from None
