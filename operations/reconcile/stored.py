"""What the warehouse holds of the files of a table, in order of source and position: rows, and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import letters_query
from contracts.lineage import POSITION, RUN_ID, SOURCE
from contracts.refusal import ErrorCode
from contracts.schemas import any_partition, quote
from contracts.table import Column, Table
from operations.reconcile.sample import Sample

__all__ = ["Ordered", "letters_of", "rows_of"]


class Ordered:
    """Things in order of source and position, to be taken as the files are read. One is held at a time."""

    def __init__(self, things: Iterable[dict[str, Any]]) -> None:
        """Each of `things` has `_source` and `_position`."""
        self._things = iter(things)
        self._next = next(self._things, None)

    def until(self, source: str, position: int | None) -> Iterator[dict[str, Any]]:
        """Yield those of a source up to a position, None for its end. Those of sources before it are skipped."""
        while self._next is not None and self._next[SOURCE] <= source:
            if self._next[SOURCE] == source and position is not None and self._next[POSITION] > position:
                return
            taken, self._next = self._next, next(self._things, None)
            if taken[SOURCE] == source:
                yield taken


def rows_of(
    warehouse: Warehouse,
    table: Table,
    path: str,
    columns: Sequence[Column],
    sample: Sample,
    sources: Sequence[str],
    runs: Sequence[str],
    written: tuple[datetime, datetime],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of `sources` that one of `runs` has written between two times; BigQuery sorts them."""
    names = [SOURCE, POSITION, RUN_ID, *(column.name for column in columns)]
    where = [
        "_ingested_at BETWEEN @begin AND @end AND _source IN UNNEST(@sources) AND _run_id IN UNNEST(@runs)",
        sample.condition(POSITION),
        *any_partition(table),
    ]
    return warehouse.rows(
        f"SELECT {', '.join(map(quote, names))} FROM {path} WHERE {' AND '.join(where)} ORDER BY _source, _position",
        sources=list(sources),
        runs=list(runs),
        begin=written[0],
        end=written[1],
    )


def letters_of(
    warehouse: Warehouse, operations_dataset: str, table: Table, sample: Sample, sources: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the dead letters of `sources`: code, field, run, contract version, and the run that sent one again."""
    return warehouse.rows(
        "SELECT source AS _source, position AS _position, error_code, `field`, run_id, contract_version, replayed_by"
        f" FROM ({letters_query(warehouse.project, operations_dataset)}) AS letter WHERE `table` = @name"
        f" AND error_code != '{ErrorCode.DUPLICATE.value}' AND source IN UNNEST(@sources)"
        f" AND {sample.condition('position')} ORDER BY _source, _position",
        name=table.name,
        sources=list(sources),
    )
