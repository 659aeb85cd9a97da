"""Which records are compared: all of a table, or a share of them that BigQuery and this process choose alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Sample"]

PRIME, FACTOR = 1_000_003, 7_919
"""`position * FACTOR + seed` modulo PRIME spreads the positions of records of equal size, too, over all values."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Records by their position; `below` of PRIME of all positions are chosen, others with another `seed`."""

    below: int = PRIME
    seed: int = 0

    @classmethod
    def of(cls, size: int | None, records: int, seed: int) -> Sample:
        """Return a sample of about `size` of `records`; of all if `size` is None."""
        if size is None or size >= records:
            return cls()
        return cls(math.ceil(PRIME * size / records), seed)

    @property
    def is_all(self) -> bool:
        """Whether every record is chosen."""
        return self.below >= PRIME

    def condition(self, position: str) -> str:
        """Return the condition in SQL; `position` is the column."""
        if self.is_all:
            return "TRUE"
        return f"MOD(MOD({position}, {PRIME}) * {FACTOR} + {self.seed}, {PRIME}) < {self.below}"

    def chosen(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return for each position, shape (n,), whether its record is chosen; shape (n,)."""
        return (positions % PRIME * FACTOR + self.seed) % PRIME < self.below
