"""Counts of records: read = written + duplicate + dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["FileTally", "Tally"]


class Tally(msgspec.Struct, omit_defaults=True):
    """Counts of records by door: of a part of a block, of a line of the ledger, of a source, of a run.

    `latency` counts written rows by class of latency, see latency.py. `duplicate_differs` counts the duplicates that
    differ from the row that was written, `duplicate_unknown` those that could not be compared with it.
    """

    read: int = 0
    written: int = 0
    duplicate: int = 0
    dead_letter_by_code: dict[str, int] = {}
    latency: dict[int, int] = {}
    duplicate_differs: int = 0
    duplicate_unknown: int = 0

    @property
    def dead_letter(self) -> int:
        """Refused records."""
        return sum(self.dead_letter_by_code.values())

    @property
    def difference(self) -> int:
        """Records that were read and left by no door."""
        return self.read - self.written - self.duplicate - self.dead_letter

    def add(self, other: Tally) -> None:
        """Add the counts of `other`."""
        self.read += other.read
        self.written += other.written
        self.duplicate += other.duplicate
        self.duplicate_differs += other.duplicate_differs
        self.duplicate_unknown += other.duplicate_unknown
        self.dead_letter_by_code = _sum(self.dead_letter_by_code, other.dead_letter_by_code)
        self.latency = _sum(self.latency, other.latency)


def _sum(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}} if other else dict(one)


class FileTally(Tally, omit_defaults=True):
    """The counts of a file of a batch, before its rows are loaded, and the file's pinned generation and size.

    `written` counts the rows in the run's shards. The load counts those whose key the table has already as duplicates.
    """

    generation: int = 0
    size: int = 0
