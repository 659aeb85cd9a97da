"""Sums of a stream's lines, made by BigQuery: a stream writes a line a second for each partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.bigquery.warehouse import Warehouse

__all__ = ["sums_of"]

Parameters = Mapping[str, Any]
SUMS = ", ".join(f"SUM(`{name}`) AS `{name}`" for name in ("read", "written", "duplicate", "dead_letter"))
BOUNDS = (
    "MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset, MAX(recorded_at) AS recorded_at,"
    " MIN(IFNULL(first_recorded_at, recorded_at)) AS first_recorded_at, MIN(started_at) AS started_at,"
    " MAX(pipeline_version) AS pipeline_version"
)
PAIRS = (
    "UNNEST(REGEXP_EXTRACT_ALL(CONCAT(TO_JSON_STRING(dead_letter_by_code), TO_JSON_STRING(detail)),"
    """ r'"[a-z_0-9]+":[0-9]+')) AS pair"""
)
"""The numbers in the JSON of a line: `"wrong_type":3`, `"duplicate_differs":1`, and latencies, `"5":12`."""
DIFFERENCES = ("duplicate_differs", "duplicate_unknown")


def sums_of(warehouse: Warehouse, lines: str, by: Sequence[str], parameters: Parameters) -> list[dict[str, Any]]:
    """Return the sums of `lines`, a query of lines of a stream, for each value of the columns `by`.

    Each sum is like a line: with counts, first and last offset, times, `dead_letter_by_code` and `detail`.
    """
    names = ", ".join(f"`{name}`" for name in by)
    counts = warehouse.query(f"SELECT {names}, {SUMS}, {BOUNDS} FROM ({lines}) GROUP BY {names}", **parameters)
    pairs = warehouse.query(
        f"SELECT {names}, SPLIT(pair, ':')[OFFSET(0)] AS name, SUM(CAST(SPLIT(pair, ':')[OFFSET(1)] AS INT64)) AS n"
        f" FROM ({lines}), {PAIRS} GROUP BY {names}, name",
        **parameters,
    )
    numbers: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in pairs:
        numbers.setdefault(tuple(row[name] for name in by), {})[row["name"].strip('"')] = row["n"]
    return [{**row, **_json(numbers.get(tuple(row[name] for name in by), {}).items())} for row in counts]


def _json(numbers: Iterable[tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """Return the columns `dead_letter_by_code` and `detail`."""
    known = sorted(numbers)
    detail: dict[str, Any] = {"latency": {name: number for name, number in known if name.isdigit()}}
    detail |= {name: number for name, number in known if name in DIFFERENCES}
    codes = {name: number for name, number in known if not name.isdigit() and name not in DIFFERENCES}
    return {"dead_letter_by_code": codes, "detail": detail}
