"""The figures of a report, from the warehouse alone. BigQuery adds up, so the answers do not grow with the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS, OPEN, letters_query
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.ledger import CURRENT, LOADED, OFFSETS, QUALITY
from connectors.bookkeeping.line_sums import sums_of
from contracts.errors import UsageError
from contracts.masking import Masking
from contracts.refusal import ErrorCode
from contracts.service_levels import Measured
from contracts.table import Table
from operations.report.window import Window
from operations.runs import recent_runs, runs_query
from operations.service_levels import measured_levels

__all__ = ["SAMPLE_BYTES", "SHOWN_GROUPS", "SHOWN_RUNS", "Figures", "Flow", "Group", "read_figures"]

SHOWN_RUNS, SHOWN_GROUPS, SHOWN_SAMPLES, SAMPLES_EACH = 50, 60, 40, 2
SAMPLE_BYTES = 20_000
"""A longer record is not shown as a sample: it could be cut in the middle of a value."""
FIELD = r"REGEXP_REPLACE(field, r'\[[0-9]+\]', '[]')"
"""Elements of one array are one field."""


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


@dataclass(frozen=True, slots=True)
class Group:
    """The dead letters of one table with one code about one field, and some of the newest, as they may be shown."""

    table: str
    code: str
    field: str | None
    letters: int
    open: int
    newest: datetime
    samples: tuple[Mapping[str, Any], ...] = ()


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
    open: int
    """Dead letters that were neither written by a replay nor given up."""
    quality: Sequence[Mapping[str, Any]]
    """The newest outcome of each rule, and how often it was broken."""
    levels: Sequence[Measured]
    loaded: Mapping[str, datetime]
    """When rows of each table were written last, by dataset and name."""
    tables: Mapping[str, Table]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the figures come from."""

    warehouse: Warehouse
    operations: str
    window: Window

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return self.warehouse.query(sql, since=self.window.since, **parameters)

    @property
    def lines(self) -> str:
        return current_query(self.warehouse.project, self.operations, SINCE)

    @property
    def letters(self) -> str:
        current = letters_query(self.warehouse.project, self.operations, "@since")
        return f"SELECT *, {FIELD} AS place FROM ({current}) WHERE error_code != '{ErrorCode.DUPLICATE.value}'"


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
    first = _Source(warehouse, operations, Window(since, until)).query(
        f"SELECT MIN(recorded_at) AS at FROM `{warehouse.project}.{operations}.ledger` WHERE {SINCE}"
    )
    window = Window(since, until, first[0]["at"])
    source = _Source(warehouse, operations, window)
    groups, samples = _groups(source), _samples(source, tables)
    return Figures(
        place=f"{warehouse.project}.{operations}",
        window=window,
        flows=_flows(source),
        runs=recent_runs(warehouse, operations, since, SHOWN_RUNS),
        states=_states(source),
        rates=_rates(source),
        groups=[
            replace(group, samples=tuple(samples.get((group.table, group.code, group.field), ())))
            for group in groups[:SHOWN_GROUPS]
        ],
        group_count=len(groups),
        letters=_letters(source),
        refused={(group.table, group.code, group.field): group.letters for group in groups},
        open=sum(group.open for group in groups),
        quality=_quality(source, tables),
        levels=_levels(warehouse, tables, datasets),
        loaded=_loaded(source),
        tables=tables,
    )


def _groups(source: _Source) -> list[Group]:
    rows = source.query(
        f"SELECT `table`, error_code, place, COUNT(*) AS letters, COUNTIF(state = '{OPEN}') AS open,"
        f" MAX(failed_at) AS newest FROM ({source.letters}) GROUP BY 1, 2, 3 ORDER BY letters DESC, 1, 2, 3"
    )
    return [
        Group(row["table"], row["error_code"], row["place"], row["letters"], row["open"], row["newest"]) for row in rows
    ]


def _letters(source: _Source) -> dict[tuple[datetime, str, str], int]:
    rows = source.query(
        f"SELECT {source.window.truncated('failed_at')} AS at, `table`, error_code, COUNT(*) AS n"
        f" FROM ({source.letters}) GROUP BY 1, 2, 3"
    )
    return {(row["at"], row["table"], row["error_code"]): row["n"] for row in rows}


def _levels(warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str]) -> list[Measured]:
    """Measure the service levels of the tables that exist."""
    stated = [table for table in tables.values() if table.service_levels]
    existing = [table for table in stated if warehouse.existing(datasets[table.name], table.name) is not None]
    return measured_levels(warehouse, existing, datasets)


def _flows(source: _Source) -> list[Flow]:
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


def _states(source: _Source) -> dict[tuple[datetime, str, str], int]:
    rows = source.query(
        f"SELECT {source.window.truncated('began')} AS at, pipeline, state, COUNT(*) AS n"
        f" FROM ({runs_query(source.warehouse, source.operations)}) GROUP BY 1, 2, 3"
    )
    return {(row["at"], row["pipeline"], row["state"]): row["n"] for row in rows}


def _rates(source: _Source) -> dict[tuple[datetime, str], float]:
    """Records a second: of batches from their start to their last line, of a stream from its first line in a step."""
    rows = source.query(
        f"SELECT at, pipeline, SUM(records) / SUM(seconds) AS rate FROM ("
        f"SELECT {source.window.truncated('recorded_at')} AS at, pipeline, run_id, SUM(`read`) AS records,"
        " GREATEST(TIMESTAMP_DIFF(MAX(recorded_at),"
        f" MIN(IF(kind = '{OFFSETS}', IFNULL(first_recorded_at, recorded_at), started_at)), MILLISECOND) / 1000, 1)"
        f" AS seconds FROM ({source.lines}) WHERE kind IN ('{LOADED}', '{OFFSETS}') GROUP BY 1, 2, 3) GROUP BY 1, 2"
    )
    return {(row["at"], row["pipeline"]): float(row["rate"]) for row in rows if row["rate"]}


def _samples(
    source: _Source, tables: Mapping[str, Table]
) -> dict[tuple[str, str, str | None], list[Mapping[str, Any]]]:
    """Return the newest records of each group, as they may be shown."""
    rows = source.query(
        "SELECT `table`, error_code, place, field, error_message, source, position, failed_at, attributes, state,"
        f" IF(LENGTH(raw) <= {SAMPLE_BYTES}, raw, b'') AS raw, LENGTH(raw) AS size"
        " FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY `table`, error_code, place"
        " ORDER BY failed_at DESC, source, position) AS number,"
        " COUNT(*) OVER (PARTITION BY `table`, error_code, place) AS letters"
        f" FROM ({source.letters})) WHERE number <= {SAMPLES_EACH}"
        f" ORDER BY letters DESC, `table`, error_code, place, number LIMIT {SHOWN_SAMPLES * SAMPLES_EACH}"
    )
    found: dict[tuple[str, str, str | None], list[Mapping[str, Any]]] = {}
    for row in rows:
        shown = Masking(tables.get(row["table"])).letter(row)
        if not row["raw"] and row["size"]:
            shown["raw"] = f"({row['size']:,} bytes)"
        found.setdefault((row["table"], row["error_code"], row["place"]), []).append(shown)
    return found


def _quality(source: _Source, tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    rows = source.query(
        f"SELECT name, `table`, rule, state, value, expected, severity, why, recorded_at, checked, broken FROM ("
        f"SELECT {_table()} AS name, `table`, source AS rule, state, JSON_VALUE(detail, '$.value') AS value,"
        " JSON_VALUE(detail, '$.expected') AS expected, JSON_VALUE(detail, '$.severity') AS severity,"
        " JSON_VALUE(detail, '$.why') AS why, recorded_at,"
        " COUNT(*) OVER (PARTITION BY `dataset`, `table`, source) AS checked,"
        " COUNT(IF(state != 'kept', 1, NULL)) OVER (PARTITION BY `dataset`, `table`, source) AS broken,"
        " ROW_NUMBER() OVER (PARTITION BY `dataset`, `table`, source ORDER BY recorded_at DESC) AS number"
        f" FROM ({source.lines}) WHERE kind = '{QUALITY}') WHERE number = 1 ORDER BY name, rule"
    )
    for row in rows:
        if row["why"]:
            row["why"] = Masking(tables.get(row["table"])).message("", None, row["why"])
    return rows


def _loaded(source: _Source) -> dict[str, datetime]:
    rows = source.query(
        f"SELECT {_table()} AS name, MAX(recorded_at) AS newest FROM ({source.lines})"
        f" WHERE kind IN ('{LOADED}', '{OFFSETS}') AND written > 0 GROUP BY 1 ORDER BY 1"
    )
    return {row["name"]: row["newest"] for row in rows}
