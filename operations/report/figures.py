"""The figures of a report, from the warehouse alone. BigQuery adds up, so the answers do not grow with the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS
from connectors.bookkeeping.current_lines import SINCE
from connectors.bookkeeping.ledger import CURRENT, LOADED, OFFSETS, QUALITY
from connectors.bookkeeping.line_sums import sums_of
from contracts.errors import UsageError
from contracts.masking import Masking
from contracts.service_levels import Measured
from contracts.table import Table
from operations.report.letters import SHOWN_GROUPS, Group, groups_of, letters_of, samples_of
from operations.report.source import Source
from operations.report.window import Window
from operations.runs import recent_runs, runs_query
from operations.service_levels import measured_levels

__all__ = ["Figures", "Flow", "read_figures"]

SHOWN_RUNS, SHOWN_RULES = 50, 200


@dataclass(frozen=True, slots=True)
class Flow:
    """The records of one table in one step of time, by door."""

    at: datetime
    table: str
    """Dataset and name."""
    pipeline: str
    read: int
    written: int
    duplicate: int
    dead_letter: int
    latency: Mapping[int, int]
    """Written rows by class of latency, of a stream: see transforms/latency.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that a report says."""

    place: str
    window: Window
    flows: Sequence[Flow]
    runs: Sequence[Mapping[str, Any]]
    """The newest SHOWN_RUNS."""
    states: Mapping[tuple[datetime, str, str], int]
    """Runs by the step in which they began, pipeline and state."""
    rates: Mapping[tuple[datetime, str], float]
    """Records a second by step and pipeline."""
    groups: Sequence[Group]
    """The largest SHOWN_GROUPS."""
    group_count: int
    letters: Mapping[tuple[datetime, str, str], int]
    """Dead letters by step, table and code."""
    refused: Mapping[tuple[str, str, str | None], int]
    """Dead letters by table, code, and field without indices."""
    """Of the largest MOST_GROUPS groups."""
    dead_letters: int
    open: int
    """Dead letters that were neither written by a replay nor given up."""
    quality: Sequence[Mapping[str, Any]]
    """The newest outcome of each rule, and how often it was broken: SHOWN_RULES, those that are not kept first."""
    rule_count: int
    levels: Sequence[Measured]
    loaded: Mapping[str, datetime]
    """When rows of each table were written last, by dataset and name."""
    tables: Mapping[str, Table]


def read_figures(
    warehouse: Warehouse,
    operations: str,
    tables: Mapping[str, Table],
    datasets: Mapping[str, str],
    since: datetime,
    until: datetime,
) -> Figures:
    """Read the figures. `tables` and `datasets` are those of the contracts, by name.

    Raises UsageError if the dataset has no ledger.
    """
    if warehouse.existing(operations, CURRENT) is None or warehouse.existing(operations, CURRENT_LETTERS) is None:
        raise UsageError(
            f"there is no ledger in the dataset {operations}: a batch, a stream or launcher.py setup creates it; or"
            " give --operations_dataset"
        )
    first = Source(warehouse, operations, Window(since, until)).query(
        f"SELECT MIN(recorded_at) AS at FROM `{warehouse.project}.{operations}.ledger` WHERE {SINCE}"
    )
    window = Window(since, until, first[0]["at"])
    source = Source(warehouse, operations, window)
    groups, samples = groups_of(source), samples_of(source, tables)
    rules = _quality(source, tables)
    return Figures(
        place=f"{warehouse.project}.{operations}",
        window=window,
        flows=_flows(source),
        runs=recent_runs(warehouse, operations, since, SHOWN_RUNS),
        states=_states(source),
        rates=_rates(source),
        groups=[
            replace(group, samples=tuple(samples.get((group.table, group.code, group.field), ())))
            for group in groups.largest[:SHOWN_GROUPS]
        ],
        group_count=groups.count,
        letters=letters_of(source),
        refused={(group.table, group.code, group.field): group.letters for group in groups.largest},
        dead_letters=groups.letters,
        open=groups.open,
        quality=rules[:SHOWN_RULES],
        rule_count=len(rules),
        levels=_levels(warehouse, tables, datasets),
        loaded=_loaded(source),
        tables=tables,
    )


def _levels(warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str]) -> list[Measured]:
    """Measure the service levels of the tables that exist."""
    stated = [table for table in tables.values() if table.service_levels]
    existing = [table for table in stated if warehouse.existing(datasets[table.name], table.name) is not None]
    return measured_levels(warehouse, existing, datasets)


def _flows(source: Source) -> list[Flow]:
    lines = (
        f"SELECT *, {source.window.truncated('recorded_at')} AS at, {_table()} AS table_name"
        f" FROM ({source.lines}) WHERE kind IN ('{LOADED}', '{OFFSETS}')"
    )
    sums = sums_of(source.warehouse, lines, ("at", "table_name", "pipeline"), {"since": source.window.since})
    return [
        Flow(
            each["at"],
            each["table_name"],
            each["pipeline"],
            each["read"],
            each["written"],
            each["duplicate"],
            each["dead_letter"],
            {int(latency_class): number for latency_class, number in each["detail"]["latency"].items()},
        )
        for each in sums
    ]


def _table() -> str:
    return "IF(`dataset` IS NULL, `table`, CONCAT(`dataset`, '.', `table`))"


def _states(source: Source) -> dict[tuple[datetime, str, str], int]:
    rows = source.query(
        f"SELECT {source.window.truncated('began')} AS at, pipeline, state, COUNT(*) AS n"
        f" FROM ({runs_query(source.warehouse, source.operations)}) GROUP BY 1, 2, 3"
    )
    return {(row["at"], row["pipeline"], row["state"]): row["n"] for row in rows}


def _rates(source: Source) -> dict[tuple[datetime, str], float]:
    """Records a second: of batches from their start to their last line, of a stream from its first line in a step."""
    rows = source.query(
        f"SELECT at, pipeline, SUM(records) / SUM(seconds) AS rate FROM ("
        f"SELECT {source.window.truncated('recorded_at')} AS at, pipeline, run_id, SUM(`read`) AS records,"
        " GREATEST(TIMESTAMP_DIFF(MAX(recorded_at),"
        f" MIN(IF(kind = '{OFFSETS}', IFNULL(first_recorded_at, recorded_at), started_at)), MILLISECOND) / 1000, 1)"
        f" AS seconds FROM ({source.lines}) WHERE kind IN ('{LOADED}', '{OFFSETS}') GROUP BY 1, 2, 3) GROUP BY 1, 2"
    )
    return {(row["at"], row["pipeline"]): float(row["rate"]) for row in rows if row["rate"]}


def _quality(source: Source, tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    rows = source.query(
        f"SELECT name, `table`, rule, state, value, expected, severity, why, recorded_at, checked, broken FROM ("
        f"SELECT {_table()} AS name, `table`, source AS rule, state, JSON_VALUE(detail, '$.value') AS value,"
        " JSON_VALUE(detail, '$.expected') AS expected, JSON_VALUE(detail, '$.severity') AS severity,"
        " JSON_VALUE(detail, '$.why') AS why, recorded_at,"
        " COUNT(*) OVER (PARTITION BY `dataset`, `table`, source) AS checked,"
        " COUNT(IF(state != 'kept', 1, NULL)) OVER (PARTITION BY `dataset`, `table`, source) AS broken,"
        " ROW_NUMBER() OVER (PARTITION BY `dataset`, `table`, source ORDER BY recorded_at DESC) AS number"
        f" FROM ({source.lines}) WHERE kind = '{QUALITY}') WHERE number = 1"
        " ORDER BY state = 'kept', name, rule"
    )
    for row in rows:
        if row["why"]:
            row["why"] = Masking(tables.get(row["table"])).message("", None, row["why"])
    return rows


def _loaded(source: Source) -> dict[str, datetime]:
    rows = source.query(
        f"SELECT {_table()} AS name, MAX(recorded_at) AS newest FROM ({source.lines})"
        f" WHERE kind IN ('{LOADED}', '{OFFSETS}') AND written > 0 GROUP BY 1 ORDER BY 1"
    )
    return {row["name"]: row["newest"] for row in rows}
