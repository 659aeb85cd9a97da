"""What folding changes into a table means, in a few lines of Python: the statement must do the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.changes import DELETED, TIMESTAMP, TOPIC_ID
from contracts.lineage import INGESTED_AT, POSITION, SOURCE

__all__ = ["Change", "Row", "folded_rows", "newest", "source_of"]


def source_of(partition: int) -> str:
    """The source of a partition."""
    return f"kafka://t/{partition}"


@dataclass(frozen=True)
class Change:
    """A record of a topic; it is appended at the time `at`."""

    partition: int
    offset: int
    key: int
    qty: int | None
    """None for a tombstone."""
    version: int | None = None
    timestamp: int = 0
    at: int = 0

    def row(self) -> dict[str, Any]:
        """The row of the table of changes."""
        deleted = self.qty is None
        return {
            "id": self.key,
            "v": None if deleted else self.version,
            "qty": self.qty,
            SOURCE: source_of(self.partition),
            POSITION: self.offset,
            "_hash": self.key,
            "_run_id": "r",
            INGESTED_AT: self.at,
            DELETED: deleted,
            TIMESTAMP: self.timestamp,
            TOPIC_ID: "id",
        }


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    qty: int
    version: int | None
    source: str
    position: int
    at: int


def times_of(changes: Iterable[Change]) -> dict[Change, tuple[int, int]]:
    """What orders the changes of one key: the latest timestamp of its partition so far, and the partition."""
    latest: dict[int, int] = {}
    times = {}
    for change in sorted(changes, key=lambda each: each.offset):
        latest[change.partition] = max(change.timestamp, latest.get(change.partition, 0))
        times[change] = latest[change.partition], change.partition
    return times


def newest(changes: Iterable[Change], versioned: bool) -> Change:
    """The change of a key that counts: a row, or the last tombstone if that is none."""
    changes = list(changes)
    times = times_of(changes)
    tombstones = [change for change in changes if change.qty is None]
    alive = [
        change
        for change in changes
        if change.qty is not None
        and not any(
            other.offset > change.offset if other.partition == change.partition else times[other] > times[change]
            for other in tombstones
        )
    ]

    def order(change: Change) -> tuple[int, tuple[int, int], int]:
        has_version = versioned and change.qty is not None
        return _number(change.version) if has_version else 0, times[change], change.offset

    return max(alive or tombstones, key=order)


def folded_rows(
    changes: Iterable[Change], table: Mapping[int, Row], folded: Mapping[str, int], versioned: bool
) -> dict[int, Row | None]:
    """The rows that the statement changes, None for one that it deletes."""
    by_key: dict[int, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.key, []).append(change)
    result: dict[int, Row | None] = {}
    for key, its in by_key.items():
        change, stored = newest(its, versioned), table.get(key)
        if change.offset < folded.get(source_of(change.partition), 0):
            continue
        if change.qty is None:
            if stored and (_is_ended(stored, change, its) or _is_behind(stored, change)):
                result[key] = None
        elif stored is None or _wins(change, stored, _is_ended(stored, change, its), versioned):
            result[key] = Row(change.qty, change.version, source_of(change.partition), change.offset, change.at)
    return result


def _number(version: int | None) -> int:
    return -1 if version is None else version


def _is_behind(stored: Row, change: Change) -> bool:
    return stored.source == source_of(change.partition) and change.offset > stored.position


def _is_ended(stored: Row, change: Change, its: Iterable[Change]) -> bool:
    tombstones = [each for each in its if each.qty is None]
    below = max((each.offset for each in tombstones if each.partition == change.partition), default=-1)
    of_partition = stored.source == source_of(change.partition) and stored.position < below
    return of_partition or stored.at < max((each.at for each in tombstones), default=-1)


def _wins(change: Change, stored: Row, is_ended: bool, versioned: bool) -> bool:
    if (source_of(change.partition), change.offset, change.at) == (stored.source, stored.position, stored.at):
        return False
    later = change.at > stored.at or _is_behind(stored, change)
    if not versioned or is_ended or change.version == stored.version:
        return is_ended or later
    return _number(change.version) > _number(stored.version)
