"""The dead letters of a report: how many of which kind, and samples as they may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.bookkeeping.current_letters import OPEN
from contracts.masking import Masking
from contracts.table import Table
from operations.report.source import Source

__all__ = ["SHOWN_GROUPS", "Group", "Groups", "groups_of", "letters_of", "samples_of"]

SHOWN_GROUPS, SHOWN_SAMPLES, SAMPLES_EACH = 60, 40, 2
MOST_GROUPS = 2_000
"""Groups that are counted by the rules of the contracts."""
SAMPLE_BYTES = 20_000
"""A longer record is not shown: it could be cut in the middle of a value."""


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


@dataclass(frozen=True, slots=True)
class Groups:
    """The largest groups of dead letters, and the sums of all groups."""

    largest: Sequence[Group]
    count: int = 0
    letters: int = 0
    open: int = 0


def groups_of(source: Source) -> Groups:
    """Read the groups. A field that the contract does not know may have any name: there can be as many as records."""
    rows = source.query(
        "SELECT *, COUNT(*) OVER () AS all_groups, SUM(letters) OVER () AS all_letters, SUM(open) OVER () AS all_open"
        f" FROM (SELECT `table`, error_code, place, COUNT(*) AS letters, COUNTIF(state = '{OPEN}') AS open,"
        f" MAX(failed_at) AS newest FROM ({source.letters}) GROUP BY 1, 2, 3)"
        f" ORDER BY letters DESC, `table`, error_code, place LIMIT {MOST_GROUPS}"
    )
    largest = [
        Group(row["table"], row["error_code"], row["place"], row["letters"], row["open"], row["newest"]) for row in rows
    ]
    if not rows:
        return Groups(largest)
    return Groups(largest, *(int(rows[0][name]) for name in ("all_groups", "all_letters", "all_open")))


def letters_of(source: Source) -> dict[tuple[datetime, str, str], int]:
    """Return the number of dead letters by step, table and code."""
    rows = source.query(
        f"SELECT {source.window.truncated('failed_at')} AS at, `table`, error_code, COUNT(*) AS n"
        f" FROM ({source.letters}) GROUP BY 1, 2, 3"
    )
    return {(row["at"], row["table"], row["error_code"]): row["n"] for row in rows}


def samples_of(
    source: Source, tables: Mapping[str, Table]
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
