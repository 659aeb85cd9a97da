"""The relationships of a table and of its properties: rows whose values no row of the other table has.

The standard names a column by names, `customers.id`, or by ids, `schema/customers_tbl/properties/id_prop`, with the
file of another contract before `#`. A relationship to a table that no contract of the run describes is noted: nobody
says where that table is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from contracts.odcs.document import Place, check_keys
from contracts.odcs.problems import Problems
from contracts.odcs.quality import severity_of
from contracts.quality import Bound, Metric, Rule, Severity, Target
from contracts.table import Column, Kind, Table

__all__ = ["Names", "orphan_rules"]

KEYS = ("id", "type", "from", "to", "description", "customProperties")
NO_ORPHANS = (Bound("mustBe", (Decimal(0),)),)


class Named(NamedTuple):
    """A column: its table, its path in the warehouse, and whether it is, or is within, an array."""

    table: str
    path: tuple[str, ...]
    column: Column
    repeated: bool


@dataclass
class Names:
    """The columns of all contracts, by each reference that the standard has for them."""

    tables: set[str] = field(default_factory=set)
    """Names and ids of tables, as references write them."""
    columns: dict[str, Named] = field(default_factory=dict)

    def add(self, raw: Mapping[str, Any], table: Table) -> None:
        """Add the columns of a table, from the mapping of its contract."""
        heads = [f"{raw['name']}."]
        heads += [f"schema/{raw[key]}/" for key in ("id", "name") if raw.get(key)]
        self.tables.update(head.rstrip("./") for head in heads)
        for names, ids, named in _paths(table.name, raw["properties"], table.columns):
            self.columns.setdefault(heads[0] + ".".join(names), named)
            for head in heads[1:]:
                self.columns.setdefault(head + "/".join(f"properties/{each}" for each in ids), named)
                self.columns.setdefault(head + "/".join(f"properties/{each}" for each in names), named)

    def find(self, place: Place, construct: str, reference: str) -> Named | None:
        """Return the column; None if no contract has its table. Raises ContractError if the table has no such one."""
        _, anchor, inside = reference.rpartition("#")
        inside = inside.lstrip("/")
        if inside in self.columns:
            return self.columns[inside]
        table = "/".join(inside.split("/")[:2]) if "/" in inside else inside.partition(".")[0]
        if table in self.tables and not anchor:
            raise place.error(construct, f"names {reference}, which is not a property of that table")
        return None


def orphan_rules(place: Place, raw: Mapping[str, Any], table: Table, names: Names) -> tuple[Rule, ...]:
    """Return a rule for each relationship of a table. Raises ContractError with all that cannot be meant."""
    rules: list[Rule] = []
    problems = Problems()
    for each in raw.get("relationships") or ():
        with problems.collecting():
            source = _references(place, each, "from")
            rules += _rule(place, each, source, names, table)
    for at, own, member in _properties(place, raw["properties"], str(raw["name"])):
        for each in member.get("relationships") or ():
            with problems.collecting():
                if each.get("from") is not None:
                    raise at.error(
                        "relationships.from", "is the property itself: it belongs to a relationship of the table"
                    )
                rules += _rule(at, each, [own], names, table)
    problems.check()
    return tuple(rules)


def _rule(place: Place, raw: Mapping[str, Any], source: Sequence[str], names: Names, table: Table) -> Iterator[Rule]:
    check_keys(place, raw, KEYS, KEYS, "relationships")
    if raw.get("type") not in (None, "foreignKey"):
        raise place.error("relationships.type", f"must be foreignKey, not {raw['type']!r}")
    target = _references(place, raw, "to")
    if len(source) != len(target):
        raise place.error("relationships.to", f"names {len(target)} properties, but 'from' {len(source)}")
    severity = _severity(place, raw)
    ends = [
        [names.find(place, f"relationships.{key}", each) for each in refs]
        for key, refs in (("from", source), ("to", target))
    ]
    own = [each for each in ends[0] if each is not None and each.table == table.name]
    other = [each for each in ends[1] if each is not None]
    if len(own) != len(source):
        raise place.error("relationships.from", f"must name properties of this table, not {', '.join(source)}")
    if len(other) != len(target):
        place.note("relationships", f"to {', '.join(target)} is not checked: no contract here has that table")
        return
    if len({each.table for each in other}) > 1:
        raise place.error("relationships.to", "names columns of several tables")
    for one, another in zip(own, other, strict=True):
        for end in (one, another):
            if end.repeated or end.column.kind in (Kind.RECORD, Kind.JSON, Kind.FLOAT):
                raise place.error(
                    "relationships", f"is for single values; {'.'.join(end.path)} has none that can be compared"
                )
        if one.column.kind is not another.column.kind:
            kinds = f"{one.column.kind.value} and {another.column.kind.value}"
            raise place.error("relationships", f"compares {'.'.join(one.path)} with {'.'.join(another.path)}: {kinds}")
    columns = tuple(each.path for each in own)
    name = f"{', '.join('.'.join(path) for path in columns)} without {', '.join(target)}"
    to = Target(other[0].table, tuple(each.path for each in other))
    yield Rule(name, Metric.ORPHANS, NO_ORPHANS, severity, columns, target=to)


def _references(place: Place, raw: Mapping[str, Any], key: str) -> list[str]:
    given = raw.get(key)
    if not given:
        raise place.error("relationships", f"has no '{key}'")
    return given if isinstance(given, list) else [given]


def _severity(place: Place, raw: Mapping[str, Any]) -> Severity:
    given = {each.get("property"): each.get("value") for each in raw.get("customProperties") or ()}
    return severity_of(place, "relationships.customProperties severity", given.get("severity"), Severity.WARNING)


def _properties(
    place: Place, members: Sequence[Mapping[str, Any]], above: str
) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    """Yield place, reference and mapping of each property at any depth."""
    for member in members:
        at, own = place.inside(str(member["name"])), f"{above}.{member['name']}"
        yield at, own, member
        inner = member.get("items") or member
        yield from _properties(at, inner.get("properties") or (), own)


def _paths(
    table: str,
    members: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    above: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ()),
    repeated: bool = False,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Named]]:
    """Yield each property at any depth: its names, its ids (a name if it has no id), and its column."""
    for member, column in zip(members, columns, strict=True):
        name = str(member["name"])
        names, ids, path = (*above[0], name), (*above[1], str(member.get("id") or name)), (*above[2], column.name)
        within = repeated or column.repeated
        yield names, ids, Named(table, path, column, within)
        inner = (member.get("items") or {}) if column.repeated else member
        yield from _paths(table, inner.get("properties") or (), column.fields, (names, ids, path), within)
