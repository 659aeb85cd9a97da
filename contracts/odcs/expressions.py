"""The SQL expressions of derived columns and of patches, checked before anything runs.

An expression is evaluated by polars on whole blocks, so it must mean the same for a row whatever block the
row is in: no aggregate, window, subquery or clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from contracts.decoding.columns import polars_type
from contracts.odcs.growth import growing
from contracts.table import Column, Kind, Table

__all__ = ["check_expression", "result_type", "row_wise_problem"]

LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`")
NOT_ROW_WISE = re.compile(
    r"\b(?:OVER|SELECT|NOW(?=\s*\()|CURRENT_(?:DATE|TIME|DATETIME|TIMESTAMP)|LOCALTIME(?:STAMP)?)\b", re.IGNORECASE
)

WORD = re.compile(r"\w+|[^\s\w]")
MAX_LENGTH, MAX_WORDS = 4_000, 400
"""Of an expression: it is checked part by part, each of which is an expression, and evaluated for every block."""

RESULTS: dict[Kind, tuple[type[pl.DataType], ...]] = {
    Kind.STRING: (pl.String,),
    Kind.INTEGER: (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32),
    Kind.NUMERIC: (pl.Decimal, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32),
    Kind.FLOAT: (pl.Float64, pl.Float32),
    Kind.BOOLEAN: (pl.Boolean,),
    Kind.DATE: (pl.Date,),
    Kind.TIMESTAMP: (pl.Datetime,),
}
"""Types of result that a column takes as they are: money never comes from a binary float."""


def check_expression(table: Table, column: Column) -> str:
    """What is wrong with `column.derived`, to be put behind "construct 'transformLogic'"; empty if nothing is."""
    logic = column.derived or ""
    if problem := row_wise_problem(logic):
        return problem
    expression = pl.sql_expr(logic)
    return _problem_of_names(table, expression) or _problem_of_result(table, column, expression)


def row_wise_problem(logic: str) -> str:
    """What is wrong with an expression, whatever columns there are; empty if nothing is."""
    if len(logic) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    bare = LITERALS.sub("''", logic)
    if len(WORD.findall(bare)) > MAX_WORDS:
        return f"has more than {MAX_WORDS} names, numbers, texts and signs"
    if problem := growing(logic):
        return problem
    match = NOT_ROW_WISE.search(bare)
    if match:
        return f"uses {match[0].upper()}: it is computed from its own row"
    try:
        pl.sql_expr(logic)
    except Exception as error:  # polars raises many kinds
        return f"is not an SQL expression over columns: {_first_line(error)}"
    return ""


def result_type(expression: pl.Expr, schema: Mapping[str, Any]) -> tuple[pl.DataType | None, str]:
    """Return the type of an expression over columns of these types, and what is wrong with it; empty if nothing is."""
    empty = pl.DataFrame(schema=dict(schema))
    try:
        result = empty.select(expression.alias("result")).schema["result"]
        empty.with_columns(pl.col(pl.Int64).cast(pl.Int128)).select(expression)  # as it is computed
        if any(_spans_rows(part, empty) for part in _parts(expression, dict(empty.schema))):
            return None, "spans rows (an aggregate or an unnesting): it is computed from its own row"
    except Exception as error:
        return None, f"cannot be computed: {_first_line(error)}"
    return result, ""


def _problem_of_names(table: Table, expression: pl.Expr) -> str:
    readable = {read.name for read in table.read_columns}
    names = expression.meta.root_names()
    for name in names:
        if name in {other.name for other in table.derived_columns}:
            return f"uses {name}, which is itself derived"
        if name not in readable:
            return f"uses {name}, which is not a column of the table"
    return "" if names else "uses no column of the table"


def _problem_of_result(table: Table, column: Column, expression: pl.Expr) -> str:
    result, problem = result_type(expression, {read.name: polars_type(read) for read in table.read_columns})
    if problem:
        return problem
    if not isinstance(result, RESULTS.get(column.kind, ())) or getattr(result, "time_zone", None) not in (None, "UTC"):
        return f"gives {result}, not {column.kind.value}"
    return ""


def _parts(expression: pl.Expr, schema: dict[str, Any]) -> Iterator[pl.Expr]:
    yield expression
    for part in expression.meta.pop(schema=schema):
        yield from _parts(part, schema)


def _spans_rows(part: pl.Expr, empty: pl.DataFrame) -> bool:
    """Whether this node of an expression, taken by itself, makes one row depend on others."""
    meta = part.meta
    if not meta.pop(schema=dict(empty.schema)):
        return not (meta.is_column() or meta.is_literal())
    if not meta.root_names():
        return False
    try:
        return not meta.is_length_preserving() or not meta.is_row_separable()
    except pl.exceptions.ColumnNotFoundError:  # its form depends on the columns' types, which polars does not ask for
        return empty.select(part.alias("part")).height > 0  # of no rows an aggregate makes one


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
