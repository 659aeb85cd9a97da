"""The quality rules of a table and of its properties.

Text is for people. Rules of type library and sql are checked after a load. A rule that a run cannot check is refused,
never skipped: custom rules belong to other engines, and there is no column for a rule within an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from open_data_contract_standard.model import DataQuality

from contracts.odcs.document import Place, check_keys
from contracts.odcs.problems import Problems
from contracts.odcs.yaml_text import decimal_of
from contracts.patterns import translated
from contracts.quality import OPERATORS, PAIRS, Bound, Listed, Metric, Rule, Severity
from contracts.table import Column, Kind, Table

__all__ = ["QUALITY_KEYS", "named", "rules_of", "severity_of"]

QUALITY_TEXT = (
    *("id", "type", "name", "description", "dimension", "method", "severity", "businessImpact", "unit"),
    *("schedule", "scheduler", "tags", "customProperties", "authoritativeDefinitions"),
)
QUALITY_KEYS = (*QUALITY_TEXT, "metric", "rule", "arguments", "query", *OPERATORS)
OF_TABLE = (Metric.ROW_COUNT, Metric.DUPLICATE_VALUES)
OF_COLUMN = (Metric.NULL_VALUES, Metric.MISSING_VALUES, Metric.INVALID_VALUES, Metric.DUPLICATE_VALUES)
ARGUMENTS = {
    Metric.MISSING_VALUES: ("missingValues",),
    Metric.INVALID_VALUES: ("validValues", "pattern"),
    Metric.DUPLICATE_VALUES: ("properties",),
}
UNITS = {"rows": False, "row": False, "percent": True, "%": True}
NO_TEXT = (Kind.RECORD, Kind.BYTES)
"""Kinds whose values are in no list and match no pattern."""


def rules_of(place: Place, raw: Mapping[str, Any], table: Table) -> tuple[Rule, ...]:
    """Return the rules of a table and of its properties. Raises ContractError with all that cannot be checked."""
    rules: list[Rule] = []
    problems = Problems()
    for each in raw.get("quality") or ():
        with problems.collecting():
            rules += _rule(place, each, (), None, table, raw["properties"])
    for at, path, column, member, within_array in _members(place, raw["properties"], table.columns):
        for each in member.get("quality") or ():
            with problems.collecting():
                if within_array:
                    raise at.error("quality", "is within an array, where a run counts nothing; use a rule of type sql")
                rules += _rule(at, each, path, column, table, raw["properties"])
    problems.check()
    return tuple(rules)


def named(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the rules with names that differ: the second of a name gets a number."""
    given: dict[str, int] = {}
    unique: list[Rule] = []
    for rule in rules:
        given[rule.name] = given.get(rule.name, 0) + 1
        unique.append(replace(rule, name=f"{rule.name} ({given[rule.name]})") if given[rule.name] > 1 else rule)
    return tuple(unique)


def severity_of(place: Place, construct: str, value: object, default: Severity) -> Severity:
    """Return a severity. Raises ContractError for a word that is none."""
    words = [severity.value for severity in Severity]
    if value is None:
        return default
    if str(value).lower() not in words:
        raise place.error(construct, f"must be one of {', '.join(words)}, not {value!r}")
    return Severity(str(value).lower())


def _members(
    place: Place, members: Sequence[Mapping[str, Any]], columns: Sequence[Column], above: tuple[str, ...] = ()
) -> Iterator[tuple[Place, tuple[str, ...], Column, Mapping[str, Any], bool]]:
    """Yield place, path, column and mapping of each property at any depth, and whether it is within an array."""
    for member, column in zip(members, columns, strict=True):
        at, path = place.inside(str(member["name"])), (*above, column.name)
        yield at, path, column, member, column.repeated
        inner = member.get("items") or {} if column.repeated else member
        if column.repeated and inner:
            yield at.inside("items"), path, column, inner, True
        nested = _members(at, inner.get("properties") or (), column.fields, path)
        yield from ((*rest, within or column.repeated) for *rest, within in nested)  # type: ignore[misc]


def _rule(
    place: Place,
    raw: Mapping[str, Any],
    path: tuple[str, ...],
    column: Column | None,
    table: Table,
    members: Sequence[Mapping[str, Any]],
) -> list[Rule]:
    kind = raw.get("type") or "library"
    if kind == "custom":
        raise place.error(
            "quality", f"of type custom is for {raw.get('engine') or 'another engine'}: a run cannot check it"
        )
    if kind not in ("text", "library", "sql"):
        raise place.error("quality.type", f"must be text, library or sql, not {kind!r}")
    check_keys(place, raw, DataQuality, QUALITY_TEXT if kind == "text" else QUALITY_KEYS, "quality")
    if kind == "text":
        severity_of(place, "quality.severity", raw.get("severity"), Severity.ERROR)
        return []
    rule = _sql(place, raw, path) if kind == "sql" else _library(place, raw, path, column, table, members)
    of = f" of {'.'.join(path)}" if path else ""
    given = raw.get("name") or raw.get("id")
    return [
        replace(
            rule,
            name=" ".join(str(given or f"{rule.metric.value}{of}").split()),
            bounds=_bounds(place, raw),
            severity=severity_of(place, "quality.severity", raw.get("severity"), Severity.ERROR),
        )
    ]


def _sql(place: Place, raw: Mapping[str, Any], path: tuple[str, ...]) -> Rule:
    if not str(raw.get("query") or "").strip():
        raise place.error("quality", "has a rule of type sql without query")
    for key in ("metric", "rule", "arguments"):
        if raw.get(key) is not None:
            raise place.error(f"quality.{key}", "does not belong to a rule of type sql")
    if _percent(place, raw):
        raise place.error("quality.unit", "percent does not belong to a rule of type sql: its query returns the number")
    return Rule("", Metric.SQL, (), columns=(path,) if path else (), query=str(raw["query"]))


def _library(
    place: Place,
    raw: Mapping[str, Any],
    path: tuple[str, ...],
    column: Column | None,
    table: Table,
    members: Sequence[Mapping[str, Any]],
) -> Rule:
    word = raw.get("metric") or raw.get("rule")
    known = OF_COLUMN if column else OF_TABLE
    if not word:
        raise place.error("quality", "has a rule without metric")
    if word not in [metric.value for metric in known]:
        where = "property" if column else "table"
        names = ", ".join(metric.value for metric in known)
        raise place.error("quality.metric", f"{word} is not a metric of a {where}; {names} are")
    if raw.get("query") is not None:
        raise place.error("quality.query", "belongs to a rule of type sql")
    metric = Metric(word)
    arguments: Mapping[str, Any] = raw.get("arguments") or {}
    accepted = ARGUMENTS.get(metric, ())
    check_keys(place, arguments, accepted, accepted, "quality.arguments")
    percent = _percent(place, raw)
    if percent and metric is Metric.ROW_COUNT:
        raise place.error("quality.unit", "of rowCount is rows")
    rule = Rule("", metric, (), columns=(path,) if column else (), percent=percent)
    if metric is Metric.DUPLICATE_VALUES:
        return _duplicates(place, rule, column, arguments, table, members)
    if column is None:
        return rule
    if metric is Metric.MISSING_VALUES:
        missing = _listed(place, "missingValues", arguments.get("missingValues", [None, ""]))
        if column.kind in NO_TEXT and missing != (None,):
            raise place.error("quality.arguments.missingValues", f"must be [null] for {column.kind.value}")
        return replace(rule, values=missing)
    if metric is Metric.INVALID_VALUES:
        return _invalid(place, rule, column, arguments)
    return rule


def _duplicates(
    place: Place,
    rule: Rule,
    column: Column | None,
    arguments: Mapping[str, Any],
    table: Table,
    members: Sequence[Mapping[str, Any]],
) -> Rule:
    construct = "quality.arguments.properties"
    given = arguments.get("properties")
    if column is not None:
        if given is not None:
            raise place.error(construct, "belongs to a rule of the table")
        columns = [column]
    else:
        names = {str(member["name"]): each for member, each in zip(members, table.columns, strict=True)}
        if not isinstance(given, list) or not given or not all(name in names for name in given):
            raise place.error(construct, f"must list properties of the table, not {given!r}")
        columns = [names[name] for name in given]
        rule = replace(rule, columns=tuple((each.name,) for each in columns))
    for each in columns:
        if each.repeated or each.kind in (Kind.RECORD, Kind.JSON):
            raise place.error("quality.metric", f"duplicateValues is for single values; {each.name} has none")
    return rule


def _invalid(place: Place, rule: Rule, column: Column, arguments: Mapping[str, Any]) -> Rule:
    if not arguments:
        raise place.error("quality.arguments", "of invalidValues needs validValues or pattern")
    if column.kind in NO_TEXT:
        raise place.error("quality.metric", f"invalidValues is not supported for {column.kind.value}")
    pattern = arguments.get("pattern")
    if pattern is not None:
        try:
            pattern = translated(str(pattern))
        except ValueError as problem:
            raise place.error("quality.arguments.pattern", f"{arguments['pattern']!r} {problem}") from None
    values = _listed(place, "validValues", arguments["validValues"]) if "validValues" in arguments else ()
    return replace(rule, values=values, pattern=pattern)


def _listed(place: Place, name: str, given: object) -> tuple[Listed, ...]:
    if not isinstance(given, list) or not given:
        raise place.error(f"quality.arguments.{name}", f"must be a list of values, not {given!r}")
    return tuple(map(_value, given))


def _value(given: object) -> Listed:
    if given is None or (number := decimal_of(given)) is None:
        return None if given is None else str(given).lower() if isinstance(given, bool) else str(given)
    return number


def _bounds(place: Place, raw: Mapping[str, Any]) -> tuple[Bound, ...]:
    bounds = [
        Bound(operator, _numbers(place, operator, raw[operator]))
        for operator in OPERATORS
        if raw.get(operator) is not None
    ]
    if not bounds:
        raise place.error("quality", f"has a rule without an operator: {', '.join(OPERATORS)}")
    return tuple(bounds)


def _numbers(place: Place, operator: str, given: object) -> tuple[Decimal, ...]:
    if isinstance(given, bool) and operator in ("mustBe", "mustNotBe"):
        return (Decimal(given),)
    numbers = [decimal_of(each) for each in (given if isinstance(given, list) else [given])]
    wanted = 2 if operator in PAIRS else 1
    if len(numbers) != wanted or isinstance(given, list) != (wanted == 2) or None in numbers:
        shape = "two numbers" if wanted == 2 else "a number"
        raise place.error(f"quality.{operator}", f"must be {shape}, not {given!r}")
    found = tuple(number for number in numbers if number is not None)
    if found[0] > found[-1]:
        raise place.error(f"quality.{operator}", "must have the smaller number first")
    return found


def _percent(place: Place, raw: Mapping[str, Any]) -> bool:
    unit = raw.get("unit")
    if unit is None:
        return False
    if str(unit).lower() not in UNITS:
        raise place.error("quality.unit", f"must be rows or percent, not {unit!r}")
    return UNITS[str(unit).lower()]
