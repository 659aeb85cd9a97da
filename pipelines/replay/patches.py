"""`--patch`: a field of a table and an SQL expression for it, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import polars as pl

from contracts.decoding.patch import Assignment, Patch
from contracts.errors import UsageError
from contracts.odcs.expressions import result_type, row_wise_problem
from contracts.table import Column, Kind, Table

__all__ = ["parse_patch", "patch_lines"]

EXAMPLE = "such as \"amount = replace(amount, ',', '.')\""
NAME = r'(?:[^\W\d]\w*|"[^"\n]+")'
PATH = rf"{NAME}(?:\.{NAME})*+"
ASSIGNMENT = re.compile(rf"\s*({PATH})\s*=(?!=)\s*(.+?)\s*", re.DOTALL)
NESTED = re.compile(rf"'(?:[^']|'')*+'|(?<![\w.])(?P<path>{NAME}(?:\.{NAME})++)")
"""A path of several names, or a text, in which there are none."""
INTEGER = re.compile(
    r"'(?:[^']|'')*+'|(?P<cast>\bAS\s+|::\s*)(?:U?(?:TINY|SMALL|MEDIUM|BIG)?INT(?:EGER|[1248]|16|32|64)?)\b",
    re.IGNORECASE,
)
"""A cast to an integer of at most 64 bits, in which a product may overflow silently."""
RESULTS = (pl.String, pl.Boolean, pl.Decimal, pl.Date, pl.Time, pl.Datetime, pl.Null)
Path = tuple[str, ...]


def patch_lines(text: str) -> list[str]:
    """Return the expressions of a file: one a line, without blank lines and comments (`--`)."""
    lines = map(str.strip, text.splitlines())
    return [line for line in lines if line and not line.startswith("--")]


def parse_patch(texts: Sequence[str], table: Table) -> Patch:
    """Return the patch of a table. Raises UsageError for an unknown field, a key, or an expression that is not safe."""
    patch = Patch(tuple(_assignment(text, table) for text in texts))
    targets = [assignment.target for assignment in patch.assignments]
    for number, target in enumerate(targets):
        for other in targets[:number]:
            if _overlap(target, other):
                raise UsageError(f"--patch: {_name(target)} and {_name(other)} are one field; give one expression")
    return patch


def _assignment(text: str, table: Table) -> Assignment:
    match = ASSIGNMENT.fullmatch(text)
    if match is None:
        raise UsageError(f"--patch: {text[:60]!r} is no expression for a field, {EXAMPLE}")
    target, logic = _steps(match[1]), match[2]
    columns = dict(_fields(table.read_columns))
    if target not in columns:
        known = ", ".join(_name(path) for path in columns)
        raise UsageError(f"--patch: {table.name} reads no field {_name(target)}; there are {known[:500]}")
    if any(_overlap(target, key) for key in _key_fields(table)):
        raise UsageError(f"--patch: {_name(target)} is in the key of {table.name}, which a patch does not change")
    nested: dict[str, Path] = {}
    sql = NESTED.sub(lambda each: _as_one_name(each, nested), logic)
    sql = INTEGER.sub(lambda each: f"{each['cast']}HUGEINT" if each["cast"] else each[0], sql)
    if problem := row_wise_problem(sql):
        raise UsageError(f"--patch: the expression of {_name(target)} {problem}")
    expression = pl.sql_expr(sql)
    fields = {name: nested.get(name, (name,)) for name in expression.meta.root_names()}
    type, problem = result_type(expression, dict.fromkeys(fields, pl.String))
    if problem or type is None:
        raise UsageError(f"--patch: the expression of {_name(target)} {problem}; fields are text, CAST makes numbers")
    if not type.is_numeric() and not isinstance(type, RESULTS):
        raise UsageError(f"--patch: the expression of {_name(target)} gives {type}; CAST it to text or a number")
    required = frozenset(name for name, path in fields.items() if not any(_overlap(path, each) for each in columns))
    return Assignment(text, target, columns[target], sql, fields, required)


def _as_one_name(match: re.Match[str], nested: dict[str, Path]) -> str:
    if match["path"] is None:
        return match[0]
    steps = _steps(match["path"])
    nested[_name(steps)] = steps
    return f'"{_name(steps)}"'


def _steps(path: str) -> Path:
    return tuple(step.strip('"') for step in re.findall(NAME, path))


def _name(path: Path) -> str:
    return ".".join(path)


def _overlap(one: Path, other: Path) -> bool:
    """Whether two paths are the same field, or one is in the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _fields(columns: Sequence[Column], path: Path = (), name: str = "") -> Iterator[tuple[Path, str]]:
    """Yield the path in a record of each column and of the fields in it, with the name that messages have for it."""
    for column in columns:
        if column.file_name or column.path_part is not None:
            continue  # its value is not in the record
        where, called = (*path, *column.path), f"{name}{column.name}"
        yield where, called
        if column.kind is Kind.RECORD and not column.repeated:
            yield from _fields(column.fields, where, f"{called}.")


def _key_fields(table: Table) -> Iterator[Path]:
    for name in table.primary_key:
        column = table.column(name)
        read = {name} if column.derived is None else set(pl.sql_expr(column.derived).meta.root_names())
        yield from (each.path for each in table.read_columns if each.name in read)
