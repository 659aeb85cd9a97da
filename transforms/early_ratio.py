"""Stop a run for its dead letters before its last record: a few kB can hold billions of records, all refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.refusal import Refusal

__all__ = ["EARLY_FROM", "EarlyRatio"]

EARLY_FROM = 100_000
"""The number of refused records of a table, in one worker, from which on a run may be stopped early."""


@dataclass(slots=True)
class EarlyRatio:
    """The refused records of a table in one worker, compared with the input that the run is expected to read.

    A run that exceeds its ratio of dead letters loads nothing; that is decided at its end, when everything is counted.
    `exceeded` predicts this: at least EARLY_FROM records are refused, more than `max_ratio` of the records that this
    worker has read, and their bytes alone are more than `max_ratio` of `expected_bytes`, the input of the table.
    So a file with only bad records does not stop a run if it is a small part of the run's input.
    """

    max_ratio: float
    expected_bytes: int
    read: int = 0
    refused: int = 0
    refused_bytes: int = 0

    def add(self, read: int, refusals: Sequence[Refusal]) -> None:
        """Count a block of `read` records and its refusals."""
        self.read += read
        if refusals:
            self.refused += len(refusals)
            self.refused_bytes += sum(each.size or len(each.raw) for each in refusals) + len(refusals)

    @property
    def exceeded(self) -> bool:
        """Whether the run will exceed its ratio."""
        return (
            self.refused >= EARLY_FROM
            and self.refused > self.max_ratio * self.read
            and self.refused_bytes > self.max_ratio * self.expected_bytes
        )
