"""Which rows a run would write, by the code that decides it in a run."""

from __future__ import annotations

import polars as pl

from contracts.table import Table

__all__ = ["written_rows"]


def written_rows(rows: pl.DataFrame, table: Table, *, streamed: bool = False) -> pl.DataFrame:
    """Return the rows of an empty table after these rows, in their order; the others are duplicates.

    `rows` is in order of source and position, with `_source`. A stream writes the first row of a key to arrive.
    """
    from transforms.deduplicate import NothingKnown, Outcome, decide, in_order_of_precedence  # imports Beam

    ordered = rows.with_row_index("_order")
    if not streamed:
        ordered = in_order_of_precedence(ordered, table)
    outcomes = decide(ordered, NothingKnown())
    return ordered.filter(outcomes == Outcome.FIRST.value).sort("_order").drop("_order")
