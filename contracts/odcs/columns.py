"""One property of a contract as a Column.

Every key of a property is in one of three lists: it is supported (here), it informs people and is accepted
unread, or it is refused, because it could change which rows are clean. Properties of other tools become a note, which
a run prints. quality.py and relationships.py read what is checked after a load.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from open_data_contract_standard.model import CustomProperty, SchemaProperty

from contracts.odcs.document import Place, check_keys, nearest
from contracts.odcs.file_options import path_of
from contracts.odcs.forms import FORMS, ITEM_FORMS, OWN_PROPERTIES, PATH_FORMS, with_forms, with_path_forms
from contracts.odcs.options import LOGICAL, kind_of, named_kind, with_enum, with_options
from contracts.odcs.problems import Problems
from contracts.table import Column, Kind

__all__ = ["INFORMATIONAL", "check_name", "column_of", "columns_of", "custom_properties", "describe"]

INFORMATIONAL = (
    *("id", "businessName", "deprecated", "synonyms", "authoritativeDefinitions", "tags", "examples"),
    *("encryptedName", "transformSourceObjects", "transformDescription", "criticalDataElement"),
)
VALUE = ("logicalType", "logicalTypeOptions", "physicalType", "enum", "properties", "items", "quality", "semanticType")
FIELD = ("relationships", "name", "physicalName", "description", "classification", "required", "customProperties")
TABLE_COLUMN = (
    *("primaryKey", "primaryKeyPosition", "unique", "partitioned", "partitionKeyPosition", "transformLogic"),
)
"""What only a column of the table itself can have, not a field inside a RECORD."""
ITEM = ("name", "description", "required", "customProperties")
"""What an array's items can have besides VALUE."""

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
    problems = Problems()
    for number, member in enumerate(raw, 1):
        with problems.collecting():
            _add_column(place, number, member, depth, columns, stated)
    problems.check()
    return tuple(columns)


def _add_column(
    place: Place, number: int, member: Mapping[str, Any], depth: int, columns: list[Column], stated: set[str]
) -> None:
    name = member.get("name")
    if not name:
        raise place.inside(f"number {number}").error("name", "is missing")
    at = place.inside(name)
    column = column_of(at, member, depth)
    if column.name.casefold() in {other.name.casefold() for other in columns}:
        raise at.error("name", f"{column.name} is duplicated (BigQuery ignores case)")
    if name in stated:
        raise at.error(
            "name", "is duplicated; a second column of the same field names the field in customProperties source"
        )
    columns.append(column)
    stated.add(name)


def column_of(place: Place, raw: Mapping[str, Any], depth: int = 1) -> Column:
    """One property as a column; UsageError names what of it is not supported or not valid."""
    problems = Problems()
    with problems.collecting():
        check_keys(place, raw, SchemaProperty, (*INFORMATIONAL, *VALUE, *FIELD, *(TABLE_COLUMN if depth == 1 else ())))
    field = str(raw["name"])
    name = str(raw.get("physicalName") or field)
    with problems.collecting():
        check_name(place, "physicalName" if raw.get("physicalName") else "name", name)
    with problems.collecting():
        column = _value(place, raw, name, depth)
    with problems.collecting():
        description = describe(place, raw)
    with problems.collecting():
        custom_properties(replace(place, notes=[]), raw, ("source", *FORMS, *(PATH_FORMS if depth == 1 else ())))
    problems.check()
    classification = " ".join(str(raw.get("classification") or "").split())
    column = replace(column, description=description, required=bool(raw.get("required")), classification=classification)
    logic = raw.get("transformLogic")
    if logic is not None and raw.get("transformSourceObjects"):
        place.note(
            "transformLogic", "is about other tables (transformSourceObjects): the value is read from the record"
        )
    elif logic is not None:
        return _derived(place, raw, column, str(logic))
    given = custom_properties(place, raw, ("source", *FORMS, *(PATH_FORMS if depth == 1 else ())))
    source = path_of(place, "source", given["source"]) if "source" in given else (field,)
    column = with_path_forms(place, column, given)
    if not column.repeated:
        column = with_forms(place, column, given)
    elif misplaced := [name for name in FORMS if name in given]:
        raise place.error(f"customProperties {misplaced[0]}", "belongs in items")
    return replace(column, source=source if source != (name,) else ())


def check_name(place: Place, construct: str, name: str) -> None:
    """Raise UsageError for a name that BigQuery refuses, that is kept for lineage, or that would need quoting.

    What starts with an underscore is kept: for lineage and `_extra` here, for pseudo columns in BigQuery
    (_TABLE_SUFFIX, _PARTITIONTIME, _FILE_NAME, _CHANGE_TYPE, __ROOT__).
    """
    if NAME.fullmatch(name) and len(name) <= NAME_LENGTH:
        return
    hint = "; put the field's own name there and the column's as physicalName" if construct == "name" else ""
    rule = f"is not a valid name: a letter, then letters, digits and _, at most {NAME_LENGTH} characters"
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
    """The customProperties as a mapping; UsageError for a property that is not `known` here."""
    values: dict[str, Any] = {}
    for entry in raw.get("customProperties") or ():
        accepted = ("id", "property", "value", "description")
        check_keys(place, entry, CustomProperty, accepted, "customProperties")
        name = entry.get("property")
        if name not in known:
            if not name or name in OWN_PROPERTIES:
                raise place.error(f"customProperties {name}", f"is not supported; supported here: {', '.join(known)}")
            if meant := nearest(str(name), OWN_PROPERTIES):
                raise place.error(f"customProperties {name}", f"is not supported; did you mean {meant}?")
            place.note(f"customProperties {name}", f"is for other tools; supported here: {', '.join(known)}")
            continue
        if name in values:
            raise place.error(f"customProperties {name}", "is duplicated")
        values[name] = entry.get("value")
    return {name: value for name, value in values.items() if value is not None}


def _value(place: Place, raw: Mapping[str, Any], name: str, depth: int) -> Column:
    """The type and the rules of a property or of an array's items."""
    if raw.get("semanticType") == "measure":
        raise place.error("semanticType", "measure is not supported: an aggregate has no value in a row")
    logical = raw.get("logicalType")
    options: Mapping[str, Any] = raw.get("logicalTypeOptions") or {}
    physical = raw.get("physicalType")
    if logical == "array" and str(physical).strip().upper() not in ("JSON", "BYTES"):
        return _array(place, raw, name, depth)
    if logical is None:
        raise place.error("logicalType", "is missing")
    if logical not in (*LOGICAL, "array"):
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
        raise place.error("items", "is an array: BigQuery has no arrays of arrays")
    with_options(place, Column(name, Kind.RECORD), "array", None, raw.get("logicalTypeOptions") or {})
    for misplaced in ("enum", "properties"):
        if raw.get(misplaced):
            raise place.error(misplaced, "belongs in items")
    inside = place.inside("items")
    check_keys(inside, items, SchemaProperty, (*INFORMATIONAL, *VALUE, *ITEM))
    element = with_forms(inside, _value(inside, items, name, depth), custom_properties(inside, items, ITEM_FORMS))
    physical = str(raw.get("physicalType") or "")
    inner = re.fullmatch(r"ARRAY\s*<(.+)>", physical.strip(), re.IGNORECASE)
    stated = named_kind(place, inner[1] if inner else physical) if physical.strip().upper() != "ARRAY" else None
    if stated is not None and not (inner and stated is element.kind):
        raise place.error("physicalType", f"{physical} contradicts logicalType array of {items['logicalType']}")
    return replace(element, repeated=True)


def _fields(place: Place, raw: Mapping[str, Any], options: Mapping[str, Any], depth: int) -> tuple[Column, ...]:
    if not raw.get("properties"):
        raise place.error(
            "properties", "is missing: an object needs fields, or physicalType: JSON for a subtree as it stands"
        )
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
            raise place.error(construct, "cannot be combined with transformLogic")
    if not logic.strip():
        raise place.error("transformLogic", "is empty")
    return replace(column, derived=logic.strip())
