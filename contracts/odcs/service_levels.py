"""The `slaProperties` of a contract that can be measured: latency and freshness.

A level that cannot be measured does not stop a run, which needs none. It keeps its problem, and who measures it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from contracts.odcs.yaml_text import decimal_of
from contracts.table import Column, Kind, ServiceLevel, Table

__all__ = ["UNITS", "with_service_levels"]

MEASURES = {"latency": "latency", "ly": "latency", "freshness": "freshness"}
"""The properties that are measured, in lower case, as the standard's words; `ly` is its synonym."""
UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * 86_400),
}
"""Seconds of a unit. `m` is refused: it is a minute or a month."""
MOMENTS = (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP)


def with_service_levels(raw: Mapping[str, Any], tables: Sequence[Table]) -> list[Table]:
    """Return the tables of a contract, each with its service levels."""
    levels: dict[str, list[ServiceLevel]] = {table.name: [] for table in tables}
    for given in raw.get("slaProperties") or ():
        measure = MEASURES.get(str(given.get("property")).lower())
        if measure is not None:
            for table, level in _levels(measure, given, raw, tables):
                levels[table.name].append(level)
    return [replace(table, service_levels=tuple(levels[table.name])) for table in tables]


def _levels(
    measure: str, given: Mapping[str, Any], raw: Mapping[str, Any], tables: Sequence[Table]
) -> Iterator[tuple[Table, ServiceLevel]]:
    seconds, problem = _seconds(given)
    stated = str(given.get("element") or raw.get("slaDefaultElement") or "")
    elements = [element.strip() for element in stated.split(",") if element.strip()]
    if not elements:
        for table in tables:
            yield table, _level(measure, (), None, seconds, problem)
    for element in elements:
        found = _found(element, raw, tables)
        if found is None:
            problem = f"element {element} is not a property of the contract"
            yield tables[0], ServiceLevel(f"{measure} of {element}", measure == "latency", seconds, (), problem)
        else:
            table, path, column = found
            yield table, _level(measure, path, column, seconds, problem)


def _level(measure: str, path: tuple[str, ...], column: Column | None, seconds: float, problem: str) -> ServiceLevel:
    if column is not None and (column.repeated or column.kind not in MOMENTS):
        problem = f"{'.'.join(path)} is neither a date nor a timestamp"
    if column is None and measure == "latency":
        problem = "its element must be a date or timestamp: table.property"
    name = f"{measure} of {'.'.join(path)}" if path else measure
    return ServiceLevel(name, measure == "latency", seconds, path, problem)


def _seconds(given: Mapping[str, Any]) -> tuple[float, str]:
    """Return the limit in seconds, and what is wrong with it, or ''."""
    value, unit = given.get("value"), str(given.get("unit") or "").lower()
    try:
        number = float(value) if isinstance(value, str) else float(decimal_of(value) or 0)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        return 0, f"its value must be a number above 0, not {value!r}"
    if unit not in UNITS:
        return 0, f"its unit must be one of {', '.join(UNITS)}, not {given.get('unit')!r}"
    return number * UNITS[unit], ""


def _found(
    element: str, raw: Mapping[str, Any], tables: Sequence[Table]
) -> tuple[Table, tuple[str, ...], Column | None] | None:
    """Return the table, path and column of an element: `table.property`, `table`, or `property` of the only table."""
    first, *rest = element.split(".")
    for member, table in zip(raw["schema"], tables, strict=True):
        if first in (member["name"], table.name):
            return _in(table, member["properties"], table.columns, rest, ())
    if len(tables) == 1:
        return _in(tables[0], raw["schema"][0]["properties"], tables[0].columns, [first, *rest], ())
    return None


def _in(
    table: Table,
    members: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    names: Sequence[str],
    above: tuple[str, ...],
) -> tuple[Table, tuple[str, ...], Column | None] | None:
    if not names:
        return table, above, None
    for member, column in zip(members, columns, strict=True):
        if names[0] in (member["name"], column.name):
            path = (*above, column.name)
            if len(names) == 1:
                return table, path, column
            inner = () if column.repeated else member.get("properties") or ()
            return _in(table, inner, column.fields if inner else (), names[1:], path)
    return None
