"""Sums of a stream's lines, made by BigQuery: a stream writes a line a second for each partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.bigquery.warehouse import Warehouse

__all__ = ["DOORS", "sums_of"]

DOORS = ("read", "written", "duplicate", "dead_letter")
"""The columns of the counts of a line: those behind the first are its parts."""
COUNTS = ", ".join(f"CAST(`{door}` AS STRING)" for door in DOORS)
FORMAT = ", ".join(f'"*{door}":%s' for door in DOORS)
PAIRS = (
    f"UNNEST(REGEXP_EXTRACT_ALL(CONCAT(FORMAT('{FORMAT}', {COUNTS}), IFNULL(TO_JSON_STRING(dead_letter_by_code), ''),"
    """ IFNULL(TO_JSON_STRING(detail), '')), r'"[*a-z_0-9]+":-?[0-9]+')) AS pair"""
)
"""All numbers of a line by name: `"*read":5`, and those of its JSON: `"wrong_type":3`, latencies such as `"5":12`."""
DIFFERENCES = ("duplicate_differs", "duplicate_unknown")


def sums_of(warehouse: Warehouse, lines: str, by: Sequence[str], parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sums of `lines`, a query of lines of a stream, for each value of the columns `by`.

    Each sum has these columns, the counts of the doors, `dead_letter_by_code` and `detail`, as a line has them.
    """
    names = ", ".join(f"`{name}`" for name in by)
    rows = warehouse.query(
        f"SELECT {names}, SPLIT(pair, ':')[OFFSET(0)] AS name, SUM(CAST(SPLIT(pair, ':')[OFFSET(1)] AS INT64)) AS n"
        f" FROM ({lines}), {PAIRS} GROUP BY {names}, name",
        **parameters,
    )
    sums: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in rows:
        sums.setdefault(tuple(row[name] for name in by), {})[row["name"].strip('"')] = row["n"]
    return [dict(zip(by, key, strict=True)) | _line(dict(sorted(numbers.items()))) for key, numbers in sums.items()]


def _line(numbers: dict[str, int]) -> dict[str, Any]:
    counts = {door: numbers.pop(f"*{door}") for door in DOORS}
    latency = {name: number for name, number in numbers.items() if name.isdigit()}
    differing = {name: number for name, number in numbers.items() if name in DIFFERENCES}
    codes = {name: number for name, number in numbers.items() if name not in latency | differing}
    return {**counts, "dead_letter_by_code": codes, "detail": {"latency": latency, **differing}}
