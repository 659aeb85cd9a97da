"""The keys that a stream's table holds, in memory: which source and position won each, for as long as a horizon.

Keys live in generations, each an open-addressing hash table of plain arrays: a lookup or an insert is a handful
of NumPy calls for a whole block, and what is older than the horizon leaves a generation at a time.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.decode import HASH, HASH_LOW, POSITION
from transforms.deduplicate import SOURCE

__all__ = ["KeyIndex"]

GENERATIONS = 4
"""Parts of the horizon: a key is kept for the horizon and at most one part of it more."""
MAX_LOAD = 0.75
GROWTH = 1.5
SMALLEST = 1021
Integers = npt.NDArray[np.int64]


class KeyIndex:
    """An Index (see deduplicate.py) that grows with what is written.

    Costs 35 to 52 bytes a key (26 a slot, at most three quarters of the slots full).
    """

    def __init__(self, horizon: timedelta) -> None:
        self._span = horizon / GENERATIONS
        self._horizon = horizon
        self._sources: list[str] = []
        self._numbers: dict[str, int] = {}
        self._generations: list[tuple[datetime, _KeyTable]] = []
        self.forgotten: dict[str, int] = {}
        """Of each source the highest position whose key is known no more."""

    def __len__(self) -> int:
        return sum(table.size for _, table in self._generations)

    @property
    def nbytes(self) -> int:
        """Bytes that the keys take."""
        return sum(table.nbytes for _, table in self._generations)

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        """For each row of `digests` (`_hash`, `_hash_low`) the winner's `_source` and `_position`; null: new."""
        high, low = _columns(digests)
        numbers = np.zeros(len(high), dtype=np.uint16)
        positions = np.zeros(len(high), dtype=np.int64)
        for _, table in self._generations:
            table.find(high, low, numbers, positions)
        names = pl.Series(SOURCE, [None, *self._sources], dtype=pl.String)
        known = pl.Series(numbers != 0)
        found = pl.Series(POSITION, positions)
        return pl.DataFrame([names.gather(pl.Series(numbers.astype(np.uint32))), found.zip_with(known, _NULL)])

    def restore(self, rows: pl.DataFrame, written: pl.Series, now: datetime) -> None:
        """Enter rows as `add` does, into an empty index, that a table has had since the times `written`.

        Their ages are counted from the newest of them, not from `now`: a stream that was down for longer than the
        horizon still knows what it wrote last. Rows from before the horizon are kept like the newest.
        """
        if not len(rows):
            return
        newest = written.max()
        assert isinstance(newest, datetime)
        span = max(1, self._span // timedelta(microseconds=1))
        part = (newest - written).dt.total_microseconds() // span
        part = part.set(part >= GENERATIONS, 0)
        for number in range(GENERATIONS - 1, -1, -1):
            if (part == number).any():
                self._generations.append((now - (number + 1) * self._span, _KeyTable()))
                self._enter(rows.filter(part == number))

    def add(self, rows: pl.DataFrame, now: datetime) -> None:
        """Enter rows that were written at `now`: `_hash`, `_hash_low`, `_source`, `_position`, keys new and distinct.

        What was entered longer ago than the horizon is forgotten.
        """
        self._forget(now - self._horizon - self._span)
        if not self._generations or now - self._generations[-1][0] >= self._span:
            self._generations.append((now, _KeyTable()))
        self._enter(rows)

    def _forget(self, oldest: datetime) -> None:
        for born, table in self._generations:
            if born < oldest:
                for number, position in table.highest.items():
                    source = self._sources[number - 1]
                    self.forgotten[source] = max(position, self.forgotten.get(source, position))
        self._generations = [(born, table) for born, table in self._generations if born >= oldest]

    def _enter(self, rows: pl.DataFrame) -> None:
        high, low = _columns(rows)
        self._generations[-1][1].add(high, low, self._numbered(rows[SOURCE]), rows[POSITION].to_numpy())

    def _numbered(self, sources: pl.Series) -> npt.NDArray[np.uint16]:
        """Sources as small integers from 1; 0 marks an empty slot."""
        for source in sources.unique():
            if source not in self._numbers:
                if len(self._sources) >= np.iinfo(np.uint16).max:
                    raise ValueError("more than 65,535 sources in one index")
                self._sources.append(source)
                self._numbers[source] = len(self._sources)
        numbers = sources.replace_strict(self._numbers, return_dtype=pl.UInt16)
        return numbers.to_numpy()


_NULL = pl.Series([None], dtype=pl.Int64)


def _columns(rows: pl.DataFrame) -> tuple[Integers, Integers]:
    return rows[HASH].to_numpy(), rows[HASH_LOW].to_numpy()


class _KeyTable:
    """One generation: double hashing over a prime number of slots."""

    def __init__(self) -> None:
        self.size = 0
        self.highest: dict[int, int] = {}
        """The highest position of each source, by number."""
        self._make(SMALLEST)

    @property
    def nbytes(self) -> int:
        return int(self._high.nbytes + self._low.nbytes + self._source.nbytes + self._position.nbytes)

    def _make(self, slots: int) -> None:
        self._slots = slots
        self._high = np.zeros(slots, dtype=np.int64)
        self._low = np.zeros(slots, dtype=np.int64)
        self._source = np.zeros(slots, dtype=np.uint16)
        self._position = np.zeros(slots, dtype=np.int64)

    def find(self, high: Integers, low: Integers, sources: npt.NDArray[np.uint16], positions: Integers) -> None:
        """Fill in `sources` and `positions` where the key is here; the rest stays as it is."""
        at, step = self._start(high, low)
        left = np.arange(len(high))
        while len(left):
            slot = at[left]
            occupied = self._source[slot] != 0
            found = occupied & (self._high[slot] == high[left]) & (self._low[slot] == low[left])
            sources[left[found]] = self._source[slot[found]]
            positions[left[found]] = self._position[slot[found]]
            left = left[occupied & ~found]
            at[left] = (at[left] + step[left]) % self._slots

    def add(self, high: Integers, low: Integers, sources: npt.NDArray[np.uint16], positions: Integers) -> None:
        """Enter keys that are not here yet, each once."""
        if self.size + len(high) > self._slots * MAX_LOAD:
            self._grow(self.size + len(high))
        self._put(high, low, sources, positions)
        self.size += len(high)
        for number in np.unique(sources).tolist():
            highest = int(positions[sources == number].max())
            self.highest[number] = max(highest, self.highest.get(number, highest))

    def _put(self, high: Integers, low: Integers, sources: npt.NDArray[np.uint16], positions: Integers) -> None:
        at, step = self._start(high, low)
        left = np.arange(len(high))
        while len(left):
            slot = at[left]
            free = self._source[slot] == 0
            trying, into = left[free], slot[free]
            self._high[into], self._low[into] = high[trying], low[trying]  # of several for one slot the last stays
            placed = (self._high[into] == high[trying]) & (self._low[into] == low[trying])
            self._source[into[placed]] = sources[trying[placed]]
            self._position[into[placed]] = positions[trying[placed]]
            left = np.concatenate([left[~free], trying[~placed]])
            at[left] = (at[left] + step[left]) % self._slots

    def _grow(self, keys: int) -> None:
        full = np.flatnonzero(self._source)
        high, low, sources, positions = (part[full] for part in (self._high, self._low, self._source, self._position))
        self._make(_prime(max(math.ceil(keys / MAX_LOAD), math.ceil(self._slots * GROWTH))))
        self._put(high, low, sources, positions)  # type: ignore[arg-type]

    def _start(self, high: Integers, low: Integers) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        at = (low.view(np.uint64) % np.uint64(self._slots)).astype(np.int64)
        step = (high.view(np.uint64) % np.uint64(self._slots - 1)).astype(np.int64) + 1
        return at, step


def _prime(least: int) -> int:
    """The smallest prime that is not below `least`."""
    number = least | 1
    while any(number % divisor == 0 for divisor in range(3, math.isqrt(number) + 1, 2)):
        number += 2
    return number
