"""All problems of a contract at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import yaml

from contracts.errors import UsageError

__all__ = ["ContractError", "Problem", "Problems", "with_lines"]

MAX_PROBLEMS = 50
"""Problems of one message."""


class Problem(NamedTuple):
    """What is wrong with a construct: the names of its table and property, `address.street`, and a message."""

    table: str
    property: str
    construct: str
    message: str


class ContractError(UsageError):
    """One or more problems of a contract, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.message for problem in problems))
        self.problems = list(problems)

    @property
    def lines(self) -> list[str]:
        return [problem.message for problem in self.problems]


class Problems:
    """Collects the problems of steps that do not depend on each other."""

    def __init__(self, known: Collection[tuple[str, str, str]] = ()) -> None:
        """`known` has table, property and construct of problems that are reported already."""
        self.known = known
        self.found: list[Problem] = []

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the problems that the block raises, and go on behind it."""
        try:
            yield
        except ContractError as error:
            self.found += [problem for problem in error.problems if problem[:3] not in self.known]

    @property
    def reported(self) -> set[tuple[str, str, str]]:
        """Table, property and construct of each problem."""
        return {problem[:3] for problem in self.found}

    def check(self) -> None:
        """Raise ContractError if there were problems."""
        if self.found:
            raise ContractError(self.found)


def with_lines(error: ContractError, text: str) -> ContractError:
    """Return the error with the line of each problem in the YAML text, in order of line."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = [(_line(root, problem), problem) for problem in error.problems]
    lines.sort(key=lambda pair: pair[0])
    shown = [problem._replace(message=f"{problem.message} (line {line})") for line, problem in lines]
    if len(shown) > MAX_PROBLEMS:
        shown = [*shown[:MAX_PROBLEMS], Problem("", "", "", f"… and {len(shown) - MAX_PROBLEMS} more")]
    return ContractError(shown)


def _line(root: yaml.Node | None, problem: Problem) -> int:
    node, line = root, 1
    steps: list[str] = ["schema", problem.table] if problem.table else []
    for step in str(problem.property).split(".") if problem.property else ():
        steps += ["items"] if step == "items" else ["properties", step]
    custom = re.fullmatch(r"customProperties ([^.]+)(.*)", problem.construct)
    if custom:
        inside = custom[2].split(".")[1:]
        steps += ["customProperties", custom[1], *(["value", *inside] if inside else [])]
    else:
        steps += problem.construct.split(".")
    for step in steps:
        member = _member(node, step)
        if member is None:
            break
        key, node = member
        line = key.start_mark.line + 1
    return line


def _member(node: yaml.Node | None, step: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the node with the line of a key, or of the entry of a list with this name, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if getattr(key, "value", None) == step), None)
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value, 1):
            names = [_member(entry, name) for name in ("name", "property")]
            if step == f"number {number}" or any(name and name[1].value == step for name in names):
                return entry, entry
    return None
