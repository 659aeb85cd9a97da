"""Lines of a stream that are older than a day become one for each partition, run and day.

A stream writes a line a second for each partition: 700,000 a day for eight. What the ledger is asked about is read from
all of them. A line that stands for a day has the sums of their counts, their first and last offset, and the time at
which the first was recorded. Where offsets of a day are missing, or another run had them, there is a line for each
part.

A day is replaced by one statement, so a reader sees the old lines or the new one. Rolling up a day again changes
nothing. Nobody writes lines of a day that is over, and BigQuery takes DELETE for rows that are older than 90 minutes.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import current_query
from connectors.bookkeeping.line_sums import sums_of
from contracts.bookkeeping import LEDGER

__all__ = ["roll_up"]

KIND = "offsets"
MOST_DAYS = 10
"""How many days one call rolls up: the first call finds all days of a version before."""
BY = ("dataset", "cluster", "topic_id", "table", "source", "run_id", "pipeline", "part")
BOUNDS = (
    "MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset, MAX(recorded_at) AS recorded_at,"
    " MIN(IFNULL(first_recorded_at, recorded_at)) AS first_recorded_at, MIN(started_at) AS started_at,"
    " MAX(pipeline_version) AS pipeline_version"
)
TYPES = {field.name: field.type.value.replace("INTEGER", "INT64") for field in LEDGER.fields}


def roll_up(warehouse: Warehouse, dataset: str, now: datetime, most_days: int = MOST_DAYS) -> int:
    """Roll up days that ended more than a day before `now`, the oldest first, at most `most_days`; return how many."""
    table = f"`{warehouse.project}.{dataset}.ledger`"
    before = datetime.combine(now.astimezone(UTC).date() - timedelta(days=1), time(), UTC)
    days = warehouse.query(
        f"SELECT DATE(recorded_at) AS day FROM {table} WHERE kind = '{KIND}' AND recorded_at < @before"
        f" AND first_recorded_at IS NULL GROUP BY day ORDER BY day LIMIT {most_days}",
        before=before,
    )
    for row in days:
        _roll_up(warehouse, dataset, table, row["day"])
    return len(days)


def _roll_up(warehouse: Warehouse, dataset: str, table: str, day: date) -> None:
    begin = datetime.combine(day, time(), UTC)
    bounds = f"recorded_at >= TIMESTAMP '{begin:%F}' AND recorded_at < TIMESTAMP '{begin + timedelta(days=1):%F}'"
    lines = current_query(warehouse.project, dataset, where=f"kind = '{KIND}' AND {bounds}")
    about = "`dataset`, cluster, topic_id, `table`, source, run_id"
    parts = (
        f"SELECT *, SUM(begins) OVER (PARTITION BY {about} ORDER BY first_offset"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS part FROM (SELECT *,"
        f" IF(IFNULL(LAG(last_offset) OVER (PARTITION BY {about} ORDER BY first_offset), -2) + 1 = first_offset, 0, 1)"
        f" AS begins FROM ({lines}))"
    )
    keys = ", ".join(f"`{name}`" for name in BY)
    bounds_of = {
        tuple(row[name] for name in BY): row
        for row in warehouse.query(f"SELECT {keys}, {BOUNDS} FROM ({parts}) GROUP BY {keys}")
    }
    sums = [{**bounds_of[tuple(line[name] for name in BY)], **line} for line in sums_of(warehouse, parts, BY, {})]
    names = ", ".join(f"`{name}`" for name in LEDGER.names)
    values = ", ".join(f"day_line.`{name}`" for name in LEDGER.names)
    rows = " UNION ALL ".join(map(_row, sums)) or f"SELECT {', '.join(map(_null, LEDGER.names))} LIMIT 0"
    of_the_day = f"line.kind = '{KIND}' AND line.{bounds.replace('AND ', 'AND line.')}"
    warehouse.update(
        f"MERGE {table} AS line USING ({rows}) AS day_line ON FALSE"
        f" WHEN NOT MATCHED BY SOURCE AND {of_the_day} THEN DELETE"
        f" WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
    )


def _row(line: dict[str, Any]) -> str:
    line = {**line, "kind": KIND}
    return f"SELECT {', '.join(_literal(name, line.get(name)) for name in LEDGER.names)}"


def _null(name: str) -> str:
    return _literal(name, None)


def _literal(name: str, value: Any) -> str:
    """Return the value of a column as SQL."""
    if value is None:
        return f"CAST(NULL AS {TYPES[name]}) AS `{name}`"
    if TYPES[name] == "JSON":
        return f"PARSE_JSON({json.dumps(json.dumps(value))}) AS `{name}`"
    if TYPES[name] == "TIMESTAMP":
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00:00}' AS `{name}`"
    return f"{json.dumps(value)} AS `{name}`"
