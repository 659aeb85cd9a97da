"""Service levels of a contract: how old a table's data may be, and how long it may take until it is there."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from contracts.schemas import any_partition, quote
from contracts.table import Column, Kind, ServiceLevel, Table

__all__ = ["Measured", "Outcome", "measured_level", "service_level_query", "shown_seconds"]

INGESTED_AT = "`_ingested_at`"
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


class Outcome(enum.Enum):
    """Whether a level is kept."""

    KEPT = "kept"
    BROKEN = "broken"
    FAILED = "failed"
    """It could not be measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a level of a table. Without `seconds` it could not be measured, and `why` is the reason."""

    table: str
    level: ServiceLevel
    seconds: float | None
    why: str = ""

    @property
    def outcome(self) -> Outcome:
        """Whether the level is kept."""
        if self.seconds is None:
            return Outcome.FAILED
        return Outcome.KEPT if self.seconds <= self.level.seconds else Outcome.BROKEN

    def row(self) -> dict[str, object]:
        """Return what a person and a program read."""
        return {
            "table": self.table,
            "level": self.level.name,
            "outcome": self.outcome.value,
            "is": None if self.seconds is None else shown_seconds(self.seconds),
            "at most": shown_seconds(self.level.seconds),
            "why": self.why or None,
        }


def measured_level(table: str, level: ServiceLevel, rows: list[dict[str, float | None]]) -> Measured:
    """Return what the rows of `service_level_query` say."""
    seconds = rows[0]["seconds"] if rows else None
    return Measured(table, level, seconds, "" if seconds is not None else "the table has no such row")


def service_level_query(table: Table, path: str, level: ServiceLevel) -> str:
    """Return the query of one row with `seconds`: what a level measures, null if the table has no row for it.

    It reads the column of the level and `_ingested_at`, of the whole table.
    """
    every = " AND ".join(any_partition(table)) or "TRUE"
    moment = _moment(level.path, _column(table, level.path)) if level.path else INGESTED_AT
    if not level.is_latency:
        age = f"TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), MAX({moment}), SECOND)"
        return f"SELECT GREATEST({age}, 0) AS seconds FROM {path} WHERE {every}"
    newest = f"(SELECT MAX({INGESTED_AT}) FROM {path} WHERE {every})"
    return (
        f"SELECT GREATEST(MAX(TIMESTAMP_DIFF({INGESTED_AT}, {moment}, SECOND)), 0) AS seconds FROM {path}"
        f" WHERE {every} AND {INGESTED_AT} >= TIMESTAMP_SUB({newest}, INTERVAL 1 DAY)"
    )


def shown_seconds(seconds: float) -> str:
    """Return a number of seconds for people, in the largest unit of which there is one."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"


def _column(table: Table, path: tuple[str, ...]) -> Column:
    column = table.column(path[0])
    for name in path[1:]:
        column = next(field for field in column.fields if field.name == name)
    return column


def _moment(path: tuple[str, ...], column: Column) -> str:
    """Return when the thing happened that a row is about: of a date the end of the day, in UTC."""
    name = ".".join(map(quote, path))
    if column.kind is Kind.DATE:
        return f"TIMESTAMP(DATE_ADD({name}, INTERVAL 1 DAY))"
    return f"TIMESTAMP({name})" if column.kind is Kind.DATETIME else name
