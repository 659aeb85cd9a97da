"""A contract's mapping is checked against the standard, with a place to point at where it does not fit.

What the standard does not know is found by comparing with its model, which itself ignores it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel, ValidationError

from contracts.odcs.problems import ContractError, Problem, Problems
from contracts.odcs.yaml_text import one_line

__all__ = ["Place", "check_document", "check_keys", "nearest"]

VERSIONS = re.compile(r"v3\.[0-2]\.\d+")
VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the contracts something stands, for a message of one line."""

    file: str
    table: str = ""
    property: str = ""
    """Path of names, `address.street`."""
    notes: list[str] = field(default_factory=list, compare=False)
    """Collects what the contract states and a run neither does nor checks."""

    def note(self, construct: str, text: str) -> None:
        """Add a note about a construct here."""
        where = f"property {self.property}: " if self.property else ""
        self.notes.append(one_line(f"{where}construct '{construct}' {text}"))

    def inside(self, name: str) -> Place:
        """The property `name` of this table or property."""
        return replace(self, property=f"{self.property}.{name}" if self.property else name)

    def error(self, construct: str, problem: str) -> ContractError:
        """The error that `construct` here has this problem."""
        message = one_line(f"{self}: construct '{construct}' {problem}")
        return ContractError([Problem(self.table, self.property, construct, message)])

    def unsupported(self, construct: str) -> ContractError:
        """The error that the standard knows `construct` and this product does not."""
        return self.error(construct, "is not supported (it could change which rows are clean)")

    def __str__(self) -> str:
        parts = [f"{label} {value}" for label, value in (("table", self.table), ("property", self.property)) if value]
        return f"{self.file}: {', '.join(parts)}" if parts else self.file


def check_document(file: str, raw: dict[str, Any]) -> None:
    """Check a contract's head, and all types with the standard's model.

    Raises ContractError for another kind or version of document, values of the wrong type, top-level keys that the
    standard does not have, and variables in the schema.
    """
    problems, place = Problems(), Place(file)
    with problems.collecting():
        _check_head(place, raw)
    problems.check()
    with problems.collecting():
        check_keys(place, raw, OpenDataContractStandard, _keys_of(OpenDataContractStandard))
    try:
        named = {key: value for key, value in raw.items() if isinstance(key, str)}
        OpenDataContractStandard.model_validate(named, strict=True)
    except ValidationError as error:
        with problems.collecting():
            raise _type_problems(file, raw, error) from None
    with problems.collecting():
        _check_texts(place, raw)
    problems.check()


def _check_head(place: Place, raw: Mapping[str, Any]) -> None:
    """Check kind and version, which decide what the standard's model means."""
    problems = Problems()
    with problems.collecting():
        if raw.get("kind") != "DataContract":
            raise place.error("kind", f"must be DataContract, not {raw.get('kind')!r}")
    with problems.collecting():
        if not VERSIONS.fullmatch(str(raw.get("apiVersion"))):
            raise place.error("apiVersion", f"must be one of ODCS v3.0.0 to v3.2.x, not {raw.get('apiVersion')!r}")
    problems.check()


def _check_texts(place: Place, raw: Mapping[str, Any]) -> None:
    """Check what the standard's model allows and this project does not."""
    problems = Problems()
    for required in ("id", "version"):
        with problems.collecting():
            if not raw.get(required):
                raise place.error(required, "is missing")
    for value in _texts(raw, set()):
        if not _encodes(value):
            raise place.error(f"text {value!a}", "holds half a surrogate pair, which is no text")
    for value in _texts([raw.get("id"), raw.get("version"), raw.get("schema")], set(), without=("quality",)):
        with problems.collecting():
            if VARIABLE.search(value):
                raise place.error(f"variable {value}", "is not supported: write the value itself")
    problems.check()


def check_keys(
    place: Place,
    raw: Mapping[str, Any],
    standard: type[BaseModel] | Collection[str],
    accepted: Collection[str],
    within: str = "",
) -> None:
    """Raise ContractError for the keys of `raw` that are not accepted; one whose value says nothing passes.

    `standard` is the standard's class for this mapping, or the keys that it has there; `within` names the
    mapping when it is itself a construct (`logicalTypeOptions`).
    """
    known = _keys_of(standard) if isinstance(standard, type) else standard
    problems = Problems()
    for key, value in raw.items():
        if key in accepted:
            continue
        construct = f"{within}.{key}" if within else str(key)
        with problems.collecting():
            if key not in known:
                raise place.error(construct, f"is not part of the standard{_near(key, known)}")
            if not _says_nothing(key, value):
                raise place.unsupported(construct)
    problems.check()


def _says_nothing(key: str, value: object) -> bool:
    """Whether this is what the standard takes to stand there anyway."""
    if value is None or value is False or value in ([], {}):
        return True
    return (key.endswith("Position") and value == -1) or (key in ("minItems", "minProperties") and value == 0)


def _keys_of(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def nearest(key: str, known: Collection[str]) -> str | None:
    """Return the known name that `key` probably means, None if it is none of them."""
    lower = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(key.lower(), sorted(lower), n=1, cutoff=0.75)
    return lower[similar[0]] if similar else None


def _near(key: object, known: Collection[str]) -> str:
    similar = difflib.get_close_matches(str(key), sorted(known), n=1)
    return f" (did you mean '{similar[0]}'?)" if similar else ""


def _texts(value: object, seen: set[int], without: Collection[str] = ()) -> Iterator[str]:
    """Every text in a YAML value, except under the keys `without`. An alias is visited once, so recursion ends."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if key not in without:
                yield from _texts(item, seen, without)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_problems(file: str, raw: dict[str, Any], error: ValidationError) -> ContractError:
    """Return the error with all values of a wrong type, one problem a construct."""
    found: dict[tuple[str, str, str], Problem] = {}
    for detail in error.errors(include_url=False):
        for problem in _type_problem(file, raw, detail).problems:
            found.setdefault(problem[:3], problem)
    return ContractError(list(found.values()))


def _type_problem(file: str, raw: dict[str, Any], problem: Any) -> ContractError:
    place, construct = Place(file), ""
    node: Any = raw
    for step in problem["loc"]:
        parent = construct
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):  # the name of a branch of a union, not a key
            continue
        if isinstance(step, str):
            construct = step
            place = place.inside(step) if step == "items" and place.property else place
        elif parent in ("schema", "properties"):
            name = str(node.get("name", f"number {step + 1}")) if isinstance(node, dict) else f"number {step + 1}"
            place = replace(place, table=name) if parent == "schema" else place.inside(name)
    if construct == "enum" and not isinstance(problem["input"], dict | list):
        return place.error(construct, f"has {problem['input']!r}; write {{value: {problem['input']}}}")
    found = "" if isinstance(problem["input"], dict | list) else f" (found {problem['input']!r})"
    return place.error(construct, f"is not valid: {problem['msg']}{found}")
