"""Compute derived columns for whole blocks. odcs/expressions.py checks the expressions when a contract is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.bisect import bisect
from contracts.decoding.columns import all_hold, polars_type, rule_conditions
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Kind, Table

__all__ = ["DerivedColumns", "first_line"]


class DerivedColumns:
    """Computes a table's derived columns."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._expressions = {column.name: pl.sql_expr(column.derived or "") for column in table.derived_columns}
        self._names = [column.name for column in table.columns]
        self._integers = [
            column.name for column in table.read_columns if column.kind is Kind.INTEGER and not column.repeated
        ]

    def add(
        self, frame: pl.DataFrame, indices: npt.NDArray[np.int64], today: date
    ) -> tuple[pl.DataFrame, list[tuple[int, NotClean]]]:
        """Return the frame with the derived columns, in the order of the contract, and the refused rows.

        A row is refused if a derived value cannot be computed (for example on overflow) or breaks a rule. `indices` has
        shape (n,): the index of the record of each row of `frame`. The refused rows are given by that index.
        """

        def validated(part: Sequence[int]) -> tuple[pl.DataFrame, list[tuple[int, NotClean]]]:
            if len(part) == len(frame):
                return self._validated(frame, indices, today)
            rows = slice(part[0], part[-1] + 1) if part else slice(0)
            return self._validated(frame[rows], indices[rows], today)

        parts, failures = bisect(range(len(frame)), validated, errors=(pl.exceptions.PolarsError,))
        refused = [item for _, items in parts for item in items]
        for row, error in failures:
            message = f"{', '.join(self._expressions)}: cannot be computed ({first_line(error)})"
            field = next(iter(self._expressions)) if len(self._expressions) == 1 else None
            refused.append((int(indices[row]), NotClean(ErrorCode.INVALID_VALUE, message, field)))
        frames = [part for part, _ in parts] or [self._evaluate(frame.clear())]
        return pl.concat(frames) if len(frames) > 1 else frames[0], refused

    def _validated(
        self, frame: pl.DataFrame, indices: npt.NDArray[np.int64], today: date
    ) -> tuple[pl.DataFrame, list[tuple[int, NotClean]]]:
        """As `add`, but raise PolarsError if a value cannot be computed."""
        derived = self._evaluate(frame)
        conditions = [
            (column.name, condition)
            for column in self._table.derived_columns
            for condition in rule_conditions(column, today if column.name == self._table.partition else None)
        ]
        kept = all_hold(derived, [condition for _, condition in conditions])
        if kept.all():
            return derived, []
        refused: dict[int, NotClean] = {}
        for name, condition in conditions:
            for row in (~all_hold(derived, [condition])).arg_true().to_list():
                value = _text_of(derived[name].slice(row, 1))
                message = f"{name}: {value if len(value) <= 60 else value[:57] + '...'} breaks a rule of the contract"
                refused.setdefault(int(indices[row]), NotClean(ErrorCode.INVALID_VALUE, message, name))
        return derived.filter(kept), list(refused.items())

    def _evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        # In 64 bits the product of two integers can overflow silently.
        wide = frame.with_columns(pl.col(self._integers).cast(pl.Int128)) if self._integers else frame
        computed = [
            wide.select(
                self._expressions[column.name].cast(polars_type(column), strict=True).alias(column.name)
            ).to_series()
            for column in self._table.derived_columns
        ]
        others = (name for name in frame.columns if name not in self._names)
        return frame.with_columns(computed).select(*self._names, *others)


def _text_of(value: pl.Series) -> str:
    """Return the single value as text. polars converts a time, since Python knows only the years 1 to 9999."""
    return str((value.cast(pl.String) if value.dtype.is_temporal() else value)[0])


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error."""
    return str(error).strip().partition("\n")[0]
