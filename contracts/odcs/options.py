"""The rules for values that a property of a contract states: logicalTypeOptions, enum and physicalType."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from contracts.odcs.bounds import BOUNDS, with_number_bounds, with_time_bounds
from contracts.odcs.document import Place, check_keys
from contracts.odcs.forms import with_time_format
from contracts.patterns import translated
from contracts.table import Column, Kind

__all__ = ["LOGICAL", "kind_of", "named_kind", "with_enum", "with_options"]

LOGICAL = {
    "string": Kind.STRING,
    "integer": Kind.INTEGER,
    "number": Kind.NUMERIC,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
    "time": Kind.TIME,
    "object": Kind.RECORD,
}
"""The kind of each logicalType except `array`, unless physicalType names one of OTHERS."""
OTHERS = {
    "string": (Kind.BYTES, Kind.JSON),
    "number": (Kind.BIGNUMERIC, Kind.FLOAT, Kind.INTEGER),
    "timestamp": (Kind.DATETIME,),
    "object": (Kind.JSON,),
    "array": (Kind.JSON, Kind.BYTES),
}
"""The kinds that physicalType can make of a logicalType."""

PHYSICAL = {
    Kind.STRING: ("STRING", "VARCHAR", "CHAR", "CHARACTER", "NVARCHAR", "NCHAR", "TEXT"),
    Kind.INTEGER: ("INTEGER", "INT64", "INT", "BIGINT", "SMALLINT", "TINYINT", "BYTEINT"),
    Kind.NUMERIC: ("NUMERIC", "DECIMAL"),
    Kind.BIGNUMERIC: ("BIGNUMERIC", "BIGDECIMAL"),
    Kind.FLOAT: ("FLOAT", "FLOAT64", "DOUBLE", "DOUBLE PRECISION", "REAL"),
    Kind.BOOLEAN: ("BOOLEAN", "BOOL"),
    Kind.BYTES: ("BYTES",),
    Kind.DATE: ("DATE",),
    Kind.DATETIME: ("DATETIME",),
    Kind.TIME: ("TIME",),
    Kind.TIMESTAMP: ("TIMESTAMP",),
    Kind.JSON: ("JSON",),
    Kind.RECORD: ("RECORD", "STRUCT", "OBJECT"),
}
OTHER_WAREHOUSE_TYPES = ("GEOGRAPHY", "INTERVAL", "RANGE", "ARRAY")
"""Types of BigQuery that no column here can have; a physicalType outside both lists says something about the source."""

TEXT_OPTIONS = ("minLength", "maxLength", "pattern", "format")
ZONE_OPTIONS = ("timezone", "defaultTimezone")
OPTIONS = {
    "string": (TEXT_OPTIONS, ()),
    "integer": ((*BOUNDS, "format", "multipleOf"), ()),
    "number": ((*BOUNDS, "format", "multipleOf"), ()),
    "boolean": ((), ()),
    "date": ((*BOUNDS, "format"), ()),
    "timestamp": ((*BOUNDS, "format", *ZONE_OPTIONS), ()),
    "time": (("format",), (*BOUNDS, *ZONE_OPTIONS)),
    "object": (("required",), ("minProperties", "maxProperties")),
    "array": ((), ("minItems", "maxItems", "uniqueItems")),
}
"""For each logicalType the options that are supported, then those that only the standard has."""

UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
LENGTH = re.compile(r"\(\s*(\d+)\s*\)$")
PRECISION = re.compile(r"\(\s*(\d{1,3})\s*(?:,\s*(\d{1,3})\s*)?\)$")
MOST_SCALE = {Kind.NUMERIC: (9, 29), Kind.BIGNUMERIC: (38, 38)}
"""The most digits behind the point and before it, in BigQuery."""


def kind_of(place: Place, logical: str, physical: str | None, options: Mapping[str, Any]) -> Kind:
    """The type of a column that is no array; UsageError where physicalType and logicalType contradict each other."""
    kind = LOGICAL.get(logical, Kind.RECORD)
    named = named_kind(place, physical)
    if named in OTHERS.get(logical, ()):
        kind = named
    elif logical == "string" and options.get("format") == "binary" and named is None:
        kind = Kind.BYTES
    elif named not in (None, kind):
        raise place.error("physicalType", f"{physical} contradicts logicalType {logical}")
    if logical == "number" and options.get("format") is not None:
        if options["format"] != "f64" or named in (Kind.NUMERIC, Kind.BIGNUMERIC, Kind.INTEGER):
            problem = f"{options['format']!r} is not supported for {physical or 'number'}; f64 is, for FLOAT"
            raise place.error("logicalTypeOptions.format", problem)
        kind = Kind.FLOAT
    return kind


def with_options(
    place: Place, column: Column, logical: str, physical: str | None, options: Mapping[str, Any]
) -> Column:
    """The column with the rules of its logicalTypeOptions, and the length that a VARCHAR(n) promises."""
    supported, standard = OPTIONS[logical]
    check_keys(place, options, (*supported, *standard), supported, "logicalTypeOptions")
    given = {name: value for name, value in options.items() if value is not None}
    if column.kind is Kind.STRING:
        return _text_rules(place, column, physical, given)
    if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP):
        return with_time_bounds(place, with_time_format(place, column, given), given)
    if column.kind is Kind.TIME:
        return with_time_format(place, column, given)
    if column.kind in (Kind.INTEGER, Kind.NUMERIC, Kind.BIGNUMERIC, Kind.FLOAT):
        return with_number_bounds(place, _with_precision(place, column, physical), given)
    if column.kind is Kind.BYTES and given.get("format") == "binary":
        del given["format"]
    if given and column.kind in (Kind.BYTES, Kind.JSON):
        name = next(iter(given))
        raise place.error(f"logicalTypeOptions.{name}", f"is not supported for {column.kind.value}")
    return column


def with_enum(place: Place, column: Column, entries: Sequence[Mapping[str, Any]]) -> Column:
    """The column with the values that its enum allows; an INTEGER's are written in decimal."""
    wanted = {Kind.STRING: str, Kind.INTEGER: int}.get(column.kind)
    if wanted is None:
        raise place.error("enum", f"is supported for string and integer, not for {column.kind.value}")
    values: list[str] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise place.error("enum", f"has {entry!r}; write {{value: {entry}}}")
        known = ("id", "value", "label", "description", "tags", "customProperties", "authoritativeDefinitions")
        check_keys(place, entry, known, known, "enum")
        value = entry.get("value")
        if type(value) is not wanted:
            hint = "; put it in quotes" if wanted is str else ""
            raise place.error("enum", f"has the value {value!r}, not of type {wanted.__name__}{hint}")
        if str(value) in values:
            raise place.error("enum", f"has the value {value!r} twice")
        values.append(str(value))
    if not values:
        raise place.error("enum", "has no value")
    return replace(column, enum=tuple(values))


def named_kind(place: Place, physical: str | None) -> Kind | None:
    """The kind that a physicalType names; None if it names no type of the warehouse."""
    if not physical:
        return None
    base, _, parameters = physical.partition("(")
    base = base.partition("<")[0].strip().upper()
    if base in OTHER_WAREHOUSE_TYPES:
        raise place.error("physicalType", f"{physical} is a type that is not supported")
    for kind, names in PHYSICAL.items():
        if base in names:
            text = kind is Kind.STRING and (LENGTH.search(physical) or parameters.upper() == "MAX)")
            sized = text or (kind in MOST_SCALE and PRECISION.search(physical))
            if (parameters or "<" in physical) and not sized:
                raise place.error("physicalType", f"{physical} has parameters that are not supported; write {base}")
            return kind
    return None


def _text_rules(place: Place, column: Column, physical: str | None, options: Mapping[str, Any]) -> Column:
    shortest, longest = (_length(place, options, name) for name in ("minLength", "maxLength"))
    sized = LENGTH.search(physical or "")
    if sized and named_kind(place, physical) is Kind.STRING:
        if str(physical).upper().startswith("STRING"):
            column = replace(column, length=int(sized[1]))
        longest = min(int(sized[1]), longest) if longest is not None else int(sized[1])
    if shortest is not None and longest is not None and shortest > longest:
        raise place.error("logicalTypeOptions.minLength", f"{shortest} is more than the greatest length {longest}")
    if options.get("format") not in (None, "email", "uuid"):
        problem = f"{options['format']!r} is not supported for string; email, uuid and binary are"
        raise place.error("logicalTypeOptions.format", problem)
    pattern = options.get("pattern")
    if options.get("format") == "uuid":
        if pattern is not None:
            raise place.error("logicalTypeOptions.pattern", "cannot be combined with format: uuid")
        pattern = UUID
    return replace(
        column,
        min_length=shortest,
        max_length=longest,
        pattern=None if pattern is None else _pattern(place, pattern),
        email=options.get("format") == "email",
    )


def _with_precision(place: Place, column: Column, physical: str | None) -> Column:
    """The column with precision and scale of NUMERIC(p, s) or BIGNUMERIC(p, s), within BigQuery's limits."""
    sized = PRECISION.search(physical or "") if column.kind in MOST_SCALE else None
    if sized is None or named_kind(place, physical) is not column.kind:
        return column
    precision, scale = int(sized[1]), int(sized[2] or 0)
    most, most_whole = MOST_SCALE[column.kind]
    if scale > most or not max(1, scale) <= precision <= scale + most_whole:
        other = f"; write BIGNUMERIC({precision}, {scale})" if column.kind is Kind.NUMERIC and scale <= 38 else ""
        problem = f"{physical} has too many digits: BigQuery has {most_whole} before the point and {most} behind it"
        raise place.error("physicalType", problem + other)
    return replace(column, precision=precision, scale=scale)


def _length(place: Place, options: Mapping[str, Any], name: str) -> int | None:
    value = options.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise place.error(f"logicalTypeOptions.{name}", f"must be a whole number of characters, not {value!r}")
    return value


def _pattern(place: Place, pattern: object) -> str:
    construct = "logicalTypeOptions.pattern"
    if not isinstance(pattern, str):
        raise place.error(construct, f"must be a text, not {pattern!r}")
    try:
        return translated(pattern)
    except ValueError as error:
        problem = f"{pattern[:80]!r} is not a regular expression that is supported: it {error}"
        raise place.error(construct, problem) from None
