"""Which columns are masked: whose values the product does not show to a person unless it is asked to.

A column with a `classification` is masked, whatever the word is, unless it is one of OPEN. So a word that nobody has
thought of protects its column. A derived column is masked if it is computed from a masked one.
"""

from __future__ import annotations

import polars as pl

from contracts.table import Column, Table

__all__ = ["MASK", "OPEN", "has_masked", "is_classified", "masked_columns", "masked_in_part"]

MASK = "***"
"""What is shown in the place of a value."""
OPEN = ("public", "open", "internal", "unclassified")
"""Classifications, in lower case, whose values are shown."""


def masked_columns(table: Table) -> frozenset[str]:
    """Return the names of the columns of which nothing is shown. A RECORD of which a field is masked is not in it."""
    inside = {column.name for column in table.read_columns if masked_in_part(column)}
    return frozenset(
        column.name
        for column in table.columns
        if is_classified(column)
        or (column.derived is not None and inside & set(pl.sql_expr(column.derived).meta.root_names()))
    )


def masked_in_part(column: Column) -> bool:
    """Return whether a column, or a field in it, is classified."""
    return is_classified(column) or any(map(masked_in_part, column.fields))


def has_masked(table: Table) -> bool:
    """Return whether a table has anything to mask. A text that may quote a record of it is masked whole then."""
    return any(map(masked_in_part, table.columns))


def is_classified(column: Column) -> bool:
    """Return whether the contract asks to mask this very column."""
    word = column.classification.strip().casefold()
    return bool(word) and word not in OPEN
