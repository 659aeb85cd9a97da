"""The runs that the ledger knows: when, what, how they ended, and their records by door."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.leases import LEASE_SECONDS
from connectors.bookkeeping.line_sums import DOORS
from contracts.errors import UsageError
from transforms.ledger import State

__all__ = ["NO_END", "about_run", "recent_runs", "runs_query"]

NO_END = "no end recorded"
"""The state of a run that was killed, and that nobody has continued."""

TIMES = (
    "MIN(started_at) AS began, MAX(recorded_at) AS last_line,"
    " TIMESTAMP_DIFF(MAX(recorded_at), MIN(started_at), SECOND) AS seconds"
)


def runs_query(warehouse: Warehouse, dataset: str) -> str:
    """Return the query of the runs that have written to the ledger since @since, one row each."""
    why = "MAX(IF(kind = 'run', JSON_VALUE(detail, '$.why'), NULL)) AS why"
    tables = "STRING_AGG(DISTINCT `table`, ', ' ORDER BY `table`) AS `tables`"
    return (
        f"SELECT run_id AS run, pipeline, {_state(warehouse, dataset)}, {TIMES}, {_doors()}, {why}, {tables}"
        f" FROM ({_lines(warehouse, dataset)}) GROUP BY 1, 2"
    )


def recent_runs(warehouse: Warehouse, dataset: str, since: datetime, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs that have written to the ledger since then, one row each, the newest first."""
    return warehouse.query(
        f"SELECT * FROM ({runs_query(warehouse, dataset)}) ORDER BY began DESC LIMIT {limit}", since=since
    )


def about_run(
    warehouse: Warehouse, dataset: str, run_id: str, since: datetime
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run, and its lines by table and source. Raises UsageError if it has no line since then."""
    (first,) = warehouse.query(
        f"SELECT MIN(recorded_at) AS at FROM `{warehouse.project}.{dataset}.ledger`"
        " WHERE run_id = @run AND recorded_at >= @since",
        run=run_id,
        since=since,
    )
    if first["at"] is None:
        raise UsageError(
            f"the ledger in {dataset} knows no run {run_id} since {since:%Y-%m-%d}; launcher.py runs lists them,"
            " --days N looks further back"
        )
    runs = warehouse.query(
        f"SELECT run_id AS run, pipeline, {_state(warehouse, dataset)}, {TIMES},"
        " MAX(IF(kind = 'run', JSON_VALUE(detail, '$.why'), NULL)) AS why, MAX(pipeline_version) AS version,"
        f" {_doors()} FROM ({_lines(warehouse, dataset)}) WHERE run_id = @run GROUP BY 1, 2",
        run=run_id,
        since=first["at"],
    )
    lines = warehouse.query(
        f"SELECT `table`, source, {_doors()} FROM ({_lines(warehouse, dataset)}) WHERE run_id = @run"
        " AND kind IN ('loaded', 'staged', 'offsets') GROUP BY 1, 2 ORDER BY 1, 2",
        run=run_id,
        since=first["at"],
    )
    return runs[0], lines


def _lines(warehouse: Warehouse, dataset: str) -> str:
    """Return the query of the newest lines; BigQuery reads no day before @since."""
    return current_query(warehouse.project, dataset, SINCE)


def _state(warehouse: Warehouse, dataset: str) -> str:
    """A run is running while it holds a lease and is alive; else its last line says how it ended."""
    path = f"`{warehouse.project}.{dataset}"
    now = "CURRENT_TIMESTAMP()"
    beats = (
        f"SELECT token FROM {path}.heartbeats` WHERE beat_at > TIMESTAMP_SUB({now}, INTERVAL {LEASE_SECONDS} SECOND)"
    )
    alive = f"SELECT run_id FROM {path}.leases` WHERE run_id IS NOT NULL AND (until > {now} OR token IN ({beats}))"
    ended = f"IFNULL(MAX(IF(kind = 'run', state, NULL)), '{NO_END}')"
    return f"IF(run_id IN ({alive}), '{State.RUNNING.value}', {ended}) AS state"


def _doors() -> str:
    """Records by door: of what is loaded, else of what was staged; of a stream, of its offsets."""
    columns = []
    for door in DOORS:
        final = f"SUM(IF(kind IN ('loaded', 'offsets'), `{door}`, NULL))"
        columns.append(f"IFNULL(IFNULL({final}, SUM(IF(kind = 'staged', `{door}`, NULL))), 0) AS `{door}`")
    return ", ".join(columns)
