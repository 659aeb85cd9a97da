"""The lines of the ledger as `reconcile` compares them: one for each run, table and source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.ledger import LOADED, LOST, OFFSETS, STAGED
from connectors.bookkeeping.line_sums import DOORS

__all__ = ["Line", "OffsetSum", "line_sums", "offset_gaps", "offset_sums", "qualified"]


@dataclass(frozen=True, slots=True)
class Line:
    """The sum of a run's lines of one kind about one source of a table."""

    run: str
    pipeline: str
    kind: str
    """`loaded` or `offsets`; `staged` for what a run counted before it loaded anything."""
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
    started_at: datetime
    """When the run began."""

    @property
    def name(self) -> str:
        """The table with its dataset, which a line of a version before does not name."""
        return qualified(self.dataset, self.table)


def qualified(dataset: str | None, table: str) -> str:
    """Return dataset.table, or the table alone if its dataset is not known."""
    return f"{dataset}.{table}" if dataset else table


def line_sums(warehouse: Warehouse, operations_dataset: str, since: datetime) -> list[Line]:
    """Return the sums of the lines since then that say what was staged, loaded or streamed, the oldest first."""
    doors = ", ".join(f"IFNULL(SUM(`{door}`), 0) AS `{door}`" for door in DOORS)
    rows = warehouse.query(
        f"SELECT run_id AS run, pipeline, kind, `table`, `dataset`, source, generation, size, {doors},"
        " COUNTIF(`read` != written + duplicate + dead_letter) AS unbalanced, COUNTIF(shared) AS shared,"
        " MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset, MAX(recorded_at) AS recorded_at,"
        " MAX(IFNULL(started_at, recorded_at)) AS started_at"
        f" FROM ({current_query(warehouse.project, operations_dataset, SINCE)})"
        f" WHERE kind IN ('{STAGED}', '{LOADED}', '{OFFSETS}')"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY recorded_at",
        since=since,
    )
    return [Line(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class OffsetSum:
    """The sum of all lines about a partition of one topic, whichever run wrote them."""

    name: str
    """The table, with its dataset."""
    read: int
    shared: int
    first_offset: int
    last_offset: int


def offset_sums(
    warehouse: Warehouse, operations_dataset: str, since: datetime, firsts: Mapping[str, int]
) -> dict[tuple[str, str, str, str, str], OffsetSum]:
    """Return the sums of the lines that begin at an offset or later, which `firsts` has for each source.

    They are by table, dataset, source, cluster and topic id.
    """
    if not firsts:
        return {}
    behind = (f"(source = {json.dumps(source)} AND first_offset >= {first})" for source, first in firsts.items())
    rows = warehouse.query(
        "SELECT `table`, IFNULL(`dataset`, '') AS `dataset`, source, IFNULL(cluster, '') AS cluster,"
        " IFNULL(topic_id, '') AS topic_id, SUM(`read`) AS `read`, COUNTIF(shared) AS shared,"
        " MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset"
        f" FROM ({current_query(warehouse.project, operations_dataset, SINCE)})"
        f" WHERE kind = '{OFFSETS}' AND ({' OR '.join(behind)}) GROUP BY 1, 2, 3, 4, 5",
        since=since,
    )
    return {
        (row["table"], row["dataset"], row["source"], row["cluster"], row["topic_id"]): OffsetSum(
            qualified(row["dataset"], row["table"]),
            *(int(row[name]) for name in ("read", "shared", "first_offset", "last_offset")),
        )
        for row in rows
    }


def offset_gaps(warehouse: Warehouse, operations_dataset: str, since: datetime) -> Iterator[dict[str, Any]]:
    """Yield the ranges of offsets between lines that no line covers, not even as lost.

    A range has `dataset`, `table`, `source`, `first` and `last`.
    """
    lines = current_query(warehouse.project, operations_dataset, SINCE)
    place = "`dataset`, `table`, cluster, topic_id, source"
    gaps = warehouse.query(
        f"SELECT `dataset`, `table`, source, before + 1 AS first, first_offset - 1 AS last FROM ("
        f"SELECT {place}, first_offset, MAX(last_offset) OVER (PARTITION BY {place} ORDER BY first_offset, last_offset"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before"
        f" FROM ({lines}) WHERE kind = '{OFFSETS}') WHERE first_offset > before + 1",
        since=since,
    )
    if not gaps:
        return
    ledger = f"`{warehouse.project}.{operations_dataset}.ledger`"
    lost = warehouse.query(
        f"SELECT source, first_offset AS first, last_offset AS last FROM {ledger} WHERE kind = '{LOST}' AND {SINCE}"
        " ORDER BY source, first_offset",
        since=since,
    )
    for gap in gaps:
        yield from _without(gap, [each for each in lost if each["source"] == gap["source"]])


def _without(gap: Mapping[str, Any], lost: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a range that none of the lost ranges covers, which are in order."""
    first = gap["first"]
    for each in lost:
        if first < each["first"] <= gap["last"]:
            yield {**gap, "first": first, "last": each["first"] - 1}
        first = max(first, each["last"] + 1) if each["first"] <= gap["last"] else first
    if first <= gap["last"]:
        yield {**gap, "first": first}
