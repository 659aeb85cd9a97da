"""One property of a contract as a Column.

Every key of a property is in one of three lists: it is supported (here), it informs people and is accepted
unread, or it is refused, because it could change which rows are clean. A relationship is refused: a foreign
key promises that a clean row has its partner, and nothing here looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import CustomProperty, DataQuality, SchemaProperty

from contracts.odcs_document import Place, check_keys
from contracts.odcs_options import LOGICAL, kind_of, named_kind, with_enum, with_options
from contracts.table import Column, Kind

__all__ = ["INFORMATIONAL", "check_name", "check_quality", "column_of", "columns_of", "custom_properties", "describe"]

INFORMATIONAL = (
    *("id", "businessName", "deprecated", "synonyms", "authoritativeDefinitions", "tags", "examples"),
    *("encryptedName", "transformSourceObjects", "transformDescription", "criticalDataElement"),
)
VALUE = ("logicalType", "logicalTypeOptions", "physicalType", "enum", "properties", "items", "quality", "semanticType")
FIELD = ("name", "physicalName", "description", "classification", "required", "customProperties")
TABLE_COLUMN = (
    *("primaryKey", "primaryKeyPosition", "unique", "partitioned", "partitionKeyPosition", "transformLogic"),
)
"""What only a column of the table itself can have, not a field inside a RECORD."""
ITEM = ("name", "description", "required")
"""What an array's items can have besides VALUE."""

QUALITY_TEXT = (
    *("id", "type", "name", "description", "dimension", "method", "severity", "businessImpact", "unit"),
    *("schedule", "scheduler", "tags", "customProperties", "authoritativeDefinitions"),
)
DERIVED_BARS = ("unique", "primaryKey", "properties", "items", "customProperties")
"""What a derived column cannot have: it tells no records apart, is a single value and is read from nowhere."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
NAME_LENGTH = 300
DESCRIPTION_LENGTH = 1024
MAX_DEPTH = 15


def columns_of(place: Place, raw: Collection[Mapping[str, Any]], depth: int = 1) -> tuple[Column, ...]:
    """The columns of a table (depth 1) or the fields of a RECORD; their names differ in more than case."""
    columns: list[Column] = []
    stated: set[str] = set()
    for number, member in enumerate(raw, 1):
        name = member.get("name")
        if not name:
            raise place.inside(f"number {number}").error("name", "is missing")
        at = place.inside(name)
        column = column_of(at, member, depth)
        if column.name.casefold() in {other.name.casefold() for other in columns}:
            raise at.error("name", f"{column.name} stands twice (BigQuery does not tell case apart)")
        if name in stated:
            raise at.error("name", "stands twice; another column of the same field names it as customProperties source")
        columns.append(column)
        stated.add(name)
    return tuple(columns)


def column_of(place: Place, raw: Mapping[str, Any], depth: int = 1) -> Column:
    """One property as a column; Misuse names what of it is not supported or not valid."""
    check_keys(place, raw, SchemaProperty, (*INFORMATIONAL, *VALUE, *FIELD, *(TABLE_COLUMN if depth == 1 else ())))
    field = str(raw["name"])
    name = str(raw.get("physicalName") or field)
    check_name(place, "physicalName" if raw.get("physicalName") else "name", name)
    column = replace(
        _value(place, raw, name, depth),
        description=describe(place, raw),
        required=bool(raw.get("required")),
    )
    logic = raw.get("transformLogic")
    if logic is not None:
        return _derived(place, raw, column, str(logic))
    source = _source(place, raw, (field,))
    return replace(column, source=source if source != (name,) else ())


def check_name(place: Place, construct: str, name: str) -> None:
    """Raise Misuse for a name that BigQuery refuses, that is kept for lineage, or that would need quoting.

    What starts with an underscore is kept: for lineage and `_extra` here, for pseudo columns in BigQuery
    (_TABLE_SUFFIX, _PARTITIONTIME, _FILE_NAME, _CHANGE_TYPE, __ROOT__).
    """
    if NAME.fullmatch(name) and len(name) <= NAME_LENGTH:
        return
    hint = "; put the field's own name there and the column's as physicalName" if construct == "name" else ""
    rule = f"is not a name: a letter, then letters, digits and _, at most {NAME_LENGTH}"
    raise place.error(construct, f"{name[:80]!r} {rule}{hint}")


def describe(place: Place, raw: Mapping[str, Any], longest: int = DESCRIPTION_LENGTH) -> str:
    """The description on one line, with its classification."""
    words = " ".join(str(raw.get("description") or "").split())
    if raw.get("classification"):
        words = f"{words} (classification: {' '.join(str(raw['classification']).split())})".strip()
    if len(words) > longest:
        raise place.error("description", f"is longer than the {longest} characters that BigQuery keeps")
    return words


def custom_properties(place: Place, raw: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The customProperties as a mapping; Misuse for one that is not `known` here."""
    found: dict[str, Any] = {}
    for entry in raw.get("customProperties") or ():
        accepted = ("id", "property", "value", "description")
        check_keys(place, entry, CustomProperty, accepted, "customProperties")
        name = entry.get("property")
        if name not in known:
            raise place.error(f"customProperties {name}", f"is not supported; here can be {', '.join(known)}")
        if name in found:
            raise place.error(f"customProperties {name}", "stands twice")
        found[name] = entry.get("value")
    return {name: value for name, value in found.items() if value is not None}


def check_quality(place: Place, raw: Mapping[str, Any]) -> None:
    """Accept quality rules that are text for people; Misuse for one that states what a clean row is."""
    for rule in raw.get("quality") or ():
        if rule.get("type") != "text":
            raise place.unsupported("quality")
        check_keys(place, rule, DataQuality, QUALITY_TEXT, "quality")


def _value(place: Place, raw: Mapping[str, Any], name: str, depth: int) -> Column:
    """The type and the rules of a property or of an array's items."""
    check_quality(place, raw)
    if raw.get("semanticType") == "measure":
        raise place.error("semanticType", "measure is not supported: an aggregate has no value in a row")
    logical = raw.get("logicalType")
    options: Mapping[str, Any] = raw.get("logicalTypeOptions") or {}
    physical = raw.get("physicalType")
    if logical == "array":
        return _array(place, raw, name, depth)
    if logical is None:
        raise place.error("logicalType", "is missing")
    if logical not in LOGICAL:
        raise place.error("logicalType", f"{logical} is not supported; {', '.join([*LOGICAL, 'array'])} are")
    if raw.get("items") is not None:
        raise place.error("items", f"belongs to an array, not to {logical}")
    if raw.get("properties") and logical != "object":
        raise place.error("properties", f"belongs to an object, not to {logical}")
    column = with_options(place, Column(name, kind_of(place, logical, physical, options)), logical, physical, options)
    if raw.get("enum") is not None:
        column = with_enum(place, column, raw["enum"])
    if column.kind is Kind.RECORD:
        return replace(column, fields=_fields(place, raw, options, depth))
    return column


def _array(place: Place, raw: Mapping[str, Any], name: str, depth: int) -> Column:
    items = raw.get("items")
    if not items:
        raise place.error("items", "is missing")
    if items.get("logicalType") == "array":
        raise place.error("items", "is an array of its own: BigQuery has no arrays of arrays")
    with_options(place, Column(name, Kind.RECORD), "array", None, raw.get("logicalTypeOptions") or {})
    for misplaced in ("enum", "properties"):
        if raw.get(misplaced):
            raise place.error(misplaced, "belongs into items")
    inside = place.inside("items")
    check_keys(inside, items, SchemaProperty, (*INFORMATIONAL, *VALUE, *ITEM))
    element = _value(inside, items, name, depth)
    physical = str(raw.get("physicalType") or "")
    inner = re.fullmatch(r"ARRAY\s*<(.+)>", physical.strip(), re.IGNORECASE)
    stated = named_kind(place, inner[1] if inner else physical) if physical.strip().upper() != "ARRAY" else None
    if stated is not None and not (inner and stated is element.kind):
        raise place.error("physicalType", f"{physical} contradicts logicalType array of {items['logicalType']}")
    return replace(element, repeated=True)


def _fields(place: Place, raw: Mapping[str, Any], options: Mapping[str, Any], depth: int) -> tuple[Column, ...]:
    if not raw.get("properties"):
        raise place.error("properties", "is missing: an object needs fields")
    if depth >= MAX_DEPTH:
        raise place.error("properties", f"is nested more than {MAX_DEPTH} deep, BigQuery's limit")
    fields = columns_of(place, raw["properties"], depth + 1)
    required = options.get("required") or []
    names = [str(member["name"]) for member in raw["properties"]]
    if not isinstance(required, list) or not all(name in names for name in required):
        problem = f"must list fields of the object ({', '.join(names)}), not {required!r}"
        raise place.error("logicalTypeOptions.required", problem)
    return tuple(
        replace(field, required=True) if name in required else field for name, field in zip(names, fields, strict=True)
    )


def _derived(place: Place, raw: Mapping[str, Any], column: Column, logic: str) -> Column:
    for construct in DERIVED_BARS:
        if raw.get(construct):
            raise place.error(construct, "cannot stand beside transformLogic")
    if not logic.strip():
        raise place.error("transformLogic", "is empty")
    return replace(column, derived=logic.strip())


def _source(place: Place, raw: Mapping[str, Any], default: tuple[str, ...]) -> tuple[str, ...]:
    value = custom_properties(place, raw, ("source",)).get("source")
    if value is None:
        return default
    steps = value.split(".") if isinstance(value, str) else value
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step for step in steps):
        problem = f"must be a path such as user.id or a list of names, not {value!r}"
        raise place.error("customProperties source", problem)
    return tuple(steps)
