"""What is known of the fields of a sample: a property for each, with its evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.odcs.columns import NAME, NAME_LENGTH
from operations.contracts.candidates import Form, best_match, matches_of

__all__ = ["MAYBE_REQUIRED", "Field", "fields_of", "fields_without", "nulls_of", "sanitized"]

MIN_REQUIRED = 10
"""Records that must have a value before it is called required."""
MAYBE_REQUIRED = "check: there is a value in all"
"""How the evidence for a column begins that fewer records have than make it required."""
CERTAIN_NULL = "\\N"
"""The null of MySQL and PostgreSQL, which is never a text."""
MIN_ENUM = 50
MAX_ENUM = 12
MAX_ENUM_LENGTH = 40
MAX_KEYS = 200
"""An object with more fields than this, all records together, is a map."""
MAX_DEPTH = 12


@dataclass(slots=True)
class Field:
    """One property of the draft: what the contract says, the evidence for it, and the fields of an object."""

    definition: dict[str, Any]
    evidence: list[str]
    fields: list[Field] = field(default_factory=list)
    """Of an object, or of the items of an array."""
    nulls: tuple[str, ...] = ()
    distinct: int = 0
    values: int = 0

    @property
    def name(self) -> str:
        """The name of the field in the data."""
        return str(self.definition.get("name", ""))

    @property
    def column(self) -> str:
        """The name of the column."""
        return str(self.definition.get("physicalName", self.name))


def fields_of(
    records: Sequence[Mapping[str, object]], *, in_csv: bool, tolerant: bool, depth: int = 1
) -> tuple[list[Field], list[str]]:
    """Return a property for each field of the records, and remarks about fields that cannot be columns."""
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record))
    remarks: list[str] = []
    fields: list[Field] = []
    taken: set[str] = set()
    for name in names:
        if not name.strip() or name != name.encode("utf-8", "ignore").decode():
            remarks.append(f"check: the field {name!r} has no name that a contract can have, and is not read")
            continue
        made = _field(name, [record.get(name) for record in records], in_csv, tolerant, depth)
        column = sanitized(name, taken)
        taken.add(column.casefold())
        head: dict[str, Any] = {"name": name}
        if column != name:
            head["physicalName"] = column
        made.definition = {**head, **made.definition}
        fields.append(made)
    return fields, remarks


def nulls_of(fields: Sequence[Field], records: Sequence[Mapping[str, object]]) -> set[str]:
    r"""Return the texts that stand for null in a CSV file: those of any of its fields, and `\N` wherever it is."""
    nulls = {text for each in fields for text in each.nulls}
    return nulls | ({CERTAIN_NULL} if any(CERTAIN_NULL in record.values() for record in records) else set())


def fields_without(
    nulls: Collection[str], records: Sequence[Mapping[str, object]], *, tolerant: bool
) -> tuple[list[Field], list[str]]:
    """Return what fields_of does for CSV whose null texts are known: they are null in all of its fields."""
    used: dict[str, set[str]] = {}
    plain: list[Mapping[str, object]] = []
    for record in records:
        for name, value in record.items():
            if isinstance(value, str) and value in nulls:
                used.setdefault(name, set()).add(value)
        plain.append(
            {name: None if isinstance(value, str) and value in nulls else value for name, value in record.items()}
        )
    fields, remarks = fields_of(plain, in_csv=True, tolerant=tolerant)
    for each in fields:
        if each.name in used:
            each.nulls = tuple(sorted(used[each.name]))
            each.evidence.append(f"null where the file has {', '.join(each.nulls)}")
    return fields, remarks


def sanitized(name: str, taken: set[str] | None = None) -> str:
    """Return a name that BigQuery takes and that differs from `taken` (in lower case) in more than case."""
    column = name
    if not NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        column = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "column"
        column = column if column[0].isalpha() else f"c_{column}"
        column = column[: NAME_LENGTH - 10]
    number, base = 2, column
    while taken and column.casefold() in taken:
        column, number = f"{base}_{number}", number + 1
    return column


def _field(name: str, values: Sequence[object], in_csv: bool, tolerant: bool, depth: int) -> Field:
    present = [value for value in values if value is not None]
    if not present:
        text = f"check: no value in {len(values):,} records, so the type is not known"
        return Field({"logicalType": "string"}, [text], values=0)
    made = _of_values(name, present, in_csv, tolerant, depth)
    made.values = len(present)
    blank = any(isinstance(value, str) and not value.strip() for value in present)
    empty = any(value == [] for value in present)
    if len(present) == len(values) and not blank and not empty and not made.nulls:
        if len(values) >= MIN_REQUIRED:
            made.definition["required"] = True
        else:
            made.evidence.append(f"{MAYBE_REQUIRED} {len(values)} records; required: true?")
    elif len(present) < len(values):
        made.evidence[0] += f"; without a value: {len(values) - len(present):,}"
    return made


def _of_values(name: str, values: Sequence[object], in_csv: bool, tolerant: bool, depth: int) -> Field:
    objects = [value for value in values if isinstance(value, Mapping)]
    arrays = [value for value in values if isinstance(value, list)]
    if len(objects) == len(values):
        return _object(objects, in_csv, tolerant, depth)
    if len(arrays) == len(values):
        return _array(name, arrays, in_csv, tolerant, depth)
    if objects or arrays:
        return _json(values, f"objects {len(objects)}, arrays {len(arrays)}, others the rest of {len(values):,}")
    match = best_match(name, values, in_csv=in_csv, tolerant=tolerant)
    texts = [str(value) for value in values if value not in match.nulls or not isinstance(value, str)]
    distinct = len(set(texts))
    evidence = [f"{match.matching:,} of {len(values):,} values match; distinct: {distinct:,}"]
    if match.matching < len(values):
        evidence.append(f"check: the others become dead letters, such as {match.other[:60]!r}")
    if match.nulls:
        evidence.append(f"null where the file has {', '.join(match.nulls)}")
    evidence += match.form.remarks
    definition = dict(match.form.definition)
    if definition == {"logicalType": "string"} and (listed := _enum(texts)):
        definition["enum"] = [{"value": value} for value in listed]
        evidence.append("check: are these all values that there can be?")
    return Field(definition, evidence, nulls=match.nulls, distinct=distinct)


def _enum(texts: Sequence[str]) -> list[str]:
    """Return the values of a column that has few, each of them often; [] for any other."""
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
        if len(counts) > MAX_ENUM:
            return []
    often = len(texts) >= MIN_ENUM and all(count >= 3 for count in counts.values()) and len(counts) > 1
    short = all(0 < len(text.strip()) <= MAX_ENUM_LENGTH and text.isprintable() for text in counts)
    digits = any(re.fullmatch(r"[-+\d.,]+", text) for text in counts)
    return sorted(counts) if often and short and not digits else []


def _object(values: Sequence[Mapping[str, object]], in_csv: bool, tolerant: bool, depth: int) -> Field:
    keys = {key for value in values for key in value}
    usual = max(map(len, values))
    if not keys:
        return _json(values, "always an empty object")
    if len(keys) > MAX_KEYS or (len(keys) > 30 and len(keys) > 4 * usual):
        return _json(values, f"{len(keys):,} different keys, at most {usual} in one record: a map")
    if depth >= MAX_DEPTH:
        return _json(values, "nested too deeply for columns")
    fields, remarks = fields_of(values, in_csv=in_csv, tolerant=tolerant, depth=depth + 1)
    if not fields:
        return _json(values, "no key can be a name of a column")
    return Field({"logicalType": "object"}, [f"objects: {len(values):,}", *remarks], fields)


def _array(name: str, values: Sequence[Sequence[object]], in_csv: bool, tolerant: bool, depth: int) -> Field:
    items = [item for value in values for item in value]
    evidence = [f"arrays: {len(values):,} with {len(items):,} items"]
    if not items:
        return _json(values, "always an empty array")
    if any(item is None or isinstance(item, list) for item in items):
        return _json(values, "arrays that hold null or arrays, which BigQuery's arrays cannot")
    inner = _of_values(name, items, in_csv, tolerant, depth)
    if inner.definition.get("physicalType") == "JSON" or matches_all(inner, items) is False:
        return _json(values, "the items have no common type")
    return Field({"logicalType": "array", "items": inner.definition}, [*evidence, *inner.evidence], inner.fields)


def matches_all(made: Field, items: Sequence[object]) -> bool | None:
    """Return whether all values have the form of a property; None for an object, whose fields decide."""
    if made.fields:
        return None
    return matches_of(Form(made.definition), items).matching == len(items)


def _json(values: Sequence[object], why: str) -> Field:
    form = Form({"logicalType": "object", "physicalType": "JSON"})
    match = matches_of(form, values)
    evidence = [f"{match.matching:,} of {len(values):,} values match; JSON: {why}"]
    if match.matching < len(values):
        evidence.append(f"check: the others become dead letters, such as {match.other[:60]!r}")
    return Field(form.definition, evidence, distinct=len({json.dumps(value, default=str) for value in values}))
