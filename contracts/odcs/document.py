"""A contract file: YAML text in, a mapping that fits the standard out, and a place to point at when it does not.

YAML is read as the standard means it: dates stay text, a key may stand once, a number keeps the digits it was
written with. What the standard does not know is found by comparing with its model, which itself ignores it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import yaml
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel, ValidationError

from contracts.errors import UsageError
from contracts.odcs.problems import ContractError, Problem, Problems

__all__ = ["Place", "WrittenNumber", "check_keys", "decimal_of", "nearest", "read"]

VERSIONS = re.compile(r"v3\.[0-2]\.\d+")
MAX_VALUES = 100_000
"""Keys and values of one file, its aliases and merges written out: 400 bytes can name each other a billion times."""
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
        self.notes.append(_line(f"{where}construct '{construct}' {text}"))

    def inside(self, name: str) -> Place:
        """The property `name` of this table or property."""
        return replace(self, property=f"{self.property}.{name}" if self.property else name)

    def error(self, construct: str, problem: str) -> ContractError:
        """The error that `construct` here has this problem."""
        message = _line(f"{self}: construct '{construct}' {problem}")
        return ContractError([Problem(self.table, self.property, construct, message)])

    def unsupported(self, construct: str) -> ContractError:
        """The error that the standard knows `construct` and this product does not."""
        return self.error(construct, "is not supported (it could change which rows are clean)")

    def __str__(self) -> str:
        parts = [f"{label} {value}" for label, value in (("table", self.table), ("property", self.property)) if value]
        return f"{self.file}: {', '.join(parts)}" if parts else self.file


class WrittenNumber(float):
    """A YAML number with a fraction, together with its text: NUMERIC has more digits than a binary float."""

    text: str


def decimal_of(value: object) -> Decimal | None:
    """The exact value of a YAML number; None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(value.text) if isinstance(value, WrittenNumber) else Decimal(str(value))
    return number if number.is_finite() else None


def read(file: str, text: str) -> dict[str, Any]:
    """Read one contract; returns its mapping, of which the standard's model has checked every type.

    Raises UsageError for YAML that cannot be read, another kind or version of document, a value of the wrong type,
    a top-level key that the standard does not have, and a variable in the schema.
    """
    raw = _mapping(file, text)
    _check_head(Place(file), raw)
    try:
        OpenDataContractStandard.model_validate(raw, strict=True)
    except ValidationError as error:
        raise _first_problem(file, raw, error) from None
    _check_texts(Place(file), raw)
    return raw


def _mapping(file: str, text: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{file}: not readable as YAML: {_yaml_problem(error)}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{file}: not a data contract: its top level is not a mapping")
    return raw


def _check_head(place: Place, raw: Mapping[str, Any]) -> None:
    """Check kind, version and top-level keys, which decide what the standard's model means."""
    if raw.get("kind") != "DataContract":
        raise place.error("kind", f"must be DataContract, not {raw.get('kind')!r}")
    if not VERSIONS.fullmatch(str(raw.get("apiVersion"))):
        raise place.error("apiVersion", f"must be one of ODCS v3.0.0 to v3.2.x, not {raw.get('apiVersion')!r}")
    for key in raw:
        if key not in _keys_of(OpenDataContractStandard):
            raise place.error(str(key), f"is not part of the standard{_near(key, _keys_of(OpenDataContractStandard))}")


def _check_texts(place: Place, raw: Mapping[str, Any]) -> None:
    """Check what the standard's model allows and this project does not."""
    for required in ("id", "version"):
        if not raw.get(required):
            raise place.error(required, "is missing")
    for value in _texts(raw, set()):
        if not _encodes(value):
            raise place.error(f"text {value!a}", "holds half a surrogate pair, which is no text")
    for value in _texts([raw["id"], raw["version"], raw.get("schema")], set(), without=("quality",)):
        if VARIABLE.search(value):
            raise place.error(f"variable {value}", "is not supported: write the value itself")


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


def _line(text: str) -> str:
    return " ".join(text.split())


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


def _first_problem(file: str, raw: dict[str, Any], error: ValidationError) -> UsageError:
    problem = error.errors(include_url=False)[0]
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
    found = "" if isinstance(problem["input"], dict | list) else f" (found {problem['input']!r})"
    return place.error(construct, f"is not valid: {problem['msg']}{found}")


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return _line(f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}")
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return _line(str(error))


class _Loader(yaml.SafeLoader):
    """Safe YAML without dates (the standard writes them as text), with unique keys and numbers that keep their text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and (size := _written_out(node, {})) > MAX_VALUES:
            problem = f"{size} values, its aliases and merges written out; {MAX_VALUES} can be"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    problem = f"key '{key.value}' is duplicated"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def construct_written_number(self, node: yaml.ScalarNode) -> float:
        number = WrittenNumber(self.construct_yaml_float(node))
        text = str(node.value).replace("_", "")
        number.text = text if re.fullmatch(r"[-+]?[0-9.]+([eE][-+][0-9]+)?", text) else str(float(number))
        return number


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values there are in a node, where each alias stands for all that it names; `known` by id of a node."""
    if (size := known.get(id(node))) is not None:
        return size
    known[id(node)] = 1  # a value that contains itself is counted once
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_written_out(item, known) for item in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_written_out(key, known) + _written_out(value, known) for key, value in node.value)
    known[id(node)] = size
    return size


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_written_number)
