"""The lines of the ledger as `reconcile` compares them: one for each run, table and source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.ledger import LOADED, LOST, OFFSETS
from contracts.bookkeeping import LEDGER

__all__ = ["Line", "Scope", "line_sums", "offset_gaps"]

COLUMNS = tuple(field.name for field in LEDGER.fields)
DOORS = ("read", "written", "duplicate", "dead_letter")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which lines are compared: those since then; of one run, or of one table, if it is named."""

    since: datetime
    run: str | None = None
    table: str | None = None

    def condition(self) -> str:
        """The condition on lines, without the time; the query needs the parameters of `parameters`."""
        parts = ["run_id = @run"] if self.run else []
        return " AND ".join(["TRUE", *parts, *(["`table` = @name"] if self.table else [])])

    def parameters(self) -> dict[str, str | datetime]:
        """The parameters of a query with the condition."""
        named = {"run": self.run, "name": self.table}
        return {"since": self.since, **{name: value for name, value in named.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Line:
    """The sum of a run's lines about one source of a table."""

    run: str
    pipeline: str
    kind: str
    table: str
    dataset: str | None
    source: str
    generation: int | None
    size: int | None
    read: int
    written: int
    duplicate: int
    dead_letter: int
    unbalanced: int
    """How many of the lines do not balance."""
    shared: int
    """How many of the lines are a share of one that another line covers in part: their counts are estimates."""
    first_offset: int | None
    last_offset: int | None
    recorded_at: datetime


def line_sums(warehouse: Warehouse, operations_dataset: str, scope: Scope) -> list[Line]:
    """Return the sums of the lines that say what was loaded or streamed, the oldest first."""
    doors = ", ".join(f"IFNULL(SUM(`{door}`), 0) AS `{door}`" for door in DOORS)
    rows = warehouse.query(
        f"SELECT run_id AS run, pipeline, kind, `table`, `dataset`, source, generation, size, {doors},"
        " COUNTIF(`read` != written + duplicate + dead_letter) AS unbalanced, COUNTIF(shared) AS shared,"
        " MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset, MAX(recorded_at) AS recorded_at"
        f" FROM ({current_query(warehouse.project, operations_dataset, COLUMNS, SINCE)})"
        f" WHERE kind IN ('{LOADED}', '{OFFSETS}') AND {scope.condition()}"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY recorded_at",
        **scope.parameters(),
    )
    return [Line(**row) for row in rows]


def offset_gaps(warehouse: Warehouse, operations_dataset: str, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the ranges of offsets between lines that no line covers, not even as lost: `dataset`, `table`, `source`,
    `first` and `last`.
    """
    lines = current_query(warehouse.project, operations_dataset, COLUMNS, SINCE)
    place = "`dataset`, `table`, cluster, topic_id, source"
    rows = warehouse.query(
        f"SELECT `dataset`, `table`, source, before + 1 AS first, first_offset - 1 AS last FROM ("
        f"SELECT {place}, first_offset, MAX(last_offset) OVER (PARTITION BY {place} ORDER BY first_offset, last_offset"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before"
        f" FROM ({lines}) WHERE kind = '{OFFSETS}' AND {scope.condition()}) WHERE first_offset > before + 1",
        **scope.parameters(),
    )
    if not rows:
        return
    ledger = f"`{warehouse.project}.{operations_dataset}.ledger`"
    lost = warehouse.query(
        f"SELECT source, first_offset AS first, last_offset AS last FROM {ledger} WHERE kind = '{LOST}' AND {SINCE}",
        since=scope.since,
    )
    for row in rows:
        covered = [range_ for range_ in lost if range_["source"] == row["source"]]
        if not any(range_["first"] <= row["first"] and range_["last"] >= row["last"] for range_ in covered):
            yield row
