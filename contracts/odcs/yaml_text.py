"""YAML as the standard means it: dates stay text, keys are unique, a number keeps the digits it was written with."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

from contracts.odcs.problems import ContractError, Problem

__all__ = ["WrittenNumber", "decimal_of", "mapping", "one_line"]

MAX_VALUES = 100_000
"""Keys and values of one file, its aliases and merges written out: 400 bytes can name each other a billion times."""


class WrittenNumber(float):
    """A YAML number with a fraction, together with its text: NUMERIC has more digits than a binary float."""

    text: str


def decimal_of(value: object) -> Decimal | None:
    """The exact value of a YAML number; None if it is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(value.text) if isinstance(value, WrittenNumber) else Decimal(str(value))
    return number if number.is_finite() else None


def mapping(file: str, text: str) -> dict[str, Any]:
    """Return the YAML mapping of a file. Raises ContractError for text that is not one."""
    try:
        raw = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(f"{file}: not readable as YAML: {_yaml_problem(error)}") from None
    if not isinstance(raw, dict):
        raise _unreadable(f"{file}: not a data contract: its top level is not a mapping")
    return raw


def one_line(text: str) -> str:
    """Return the text with single blanks for all white space."""
    return " ".join(text.split())


def _unreadable(message: str) -> ContractError:
    return ContractError([Problem("", "", "", message)])


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return one_line(f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}")
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return one_line(str(error))


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
