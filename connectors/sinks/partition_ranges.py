"""Ranges of partitions: one statement of BigQuery changes at most 4,000 partitions of a table.

A load that changes more, such as a history of eleven years by day, is several statements in one transaction, each for a
range of partitions. A transaction may change 100,000. It is one job: it takes effect as a whole, and is cancelled and
awaited as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from contracts.schemas import quote
from contracts.table import Kind, Table

__all__ = ["MAX_PARTITIONS", "conditions", "partitions_query", "transaction"]

MAX_PARTITIONS = 4_000
"""How many partitions one statement may change."""
PARTITIONS_A_STATEMENT = 1_900
"""How many one of several changes: a merge also changes the partitions in which the rows were before."""


def partitions_query(table: Table, path: str, condition: str = "TRUE") -> str:
    """Return the query of the distinct beginnings of the partitions of the rows at `path`, as text, in order."""
    kind = table.column(table.partition or "").kind.value
    begin = f"{kind}_TRUNC({quote(table.partition or '')}, {table.partition_by.value.upper()})"
    return (
        f"SELECT DISTINCT CAST({begin} AS STRING) AS begin FROM {path} WHERE {quote(table.partition or '')} IS NOT NULL"
        f" AND {condition} ORDER BY begin"
    )


def conditions(table: Table, begins: Sequence[str]) -> list[str]:
    """Return conditions on the partition column that split the table into ranges; [] if one statement is enough.

    `begins` are the beginnings of all partitions that are changed, in order. Each row meets exactly one condition, also
    one without a partition.
    """
    if len(begins) < MAX_PARTITIONS:  # one more is that of rows without a partition
        return []
    column = table.column(table.partition or "")
    name = quote(column.name)
    digits = len("2026-01-31") if column.kind is Kind.DATE else None
    bounds = [
        f"{column.kind.value} '{begin[:digits]}'" for begin in begins[PARTITIONS_A_STATEMENT::PARTITIONS_A_STATEMENT]
    ]
    first = f"({name} < {bounds[0]} OR {name} IS NULL)"
    middle = [f"({name} >= {low} AND {name} < {high})" for low, high in itertools.pairwise(bounds)]
    return [first, *middle, f"({name} >= {bounds[-1]})"]


def transaction(statements: Sequence[str]) -> str:
    """Return the script that runs several statements as one."""
    return ";\n".join(["BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION"]) + ";"
