"""The keys of a stream's table in memory: the source and position of the row that was written, for a horizon of time.

Keys are stored in generations, each an open-addressing hash table of plain arrays. A lookup or an insert is a few NumPy
calls for a whole block, and keys older than the horizon are dropped one generation at a time.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.decoding.decoder import HASH_LOW
from contracts.lineage import HASH, POSITION, SOURCE
from transforms.deduplicate import CONTENT

__all__ = ["KeyIndex"]

GENERATIONS = 4
"""Generations of one horizon: a key is kept for the horizon, and for at most one generation longer."""
MAX_LOAD = 0.75
GROWTH = 1.5
SMALLEST = 1021
Integers = npt.NDArray[np.int64]
Small = npt.NDArray[np.uint16]


class KeyIndex:
    """An Index (see deduplicate.py) that grows with every append.

    It takes 37 to 56 bytes a key (28 bytes a slot, at most three quarters of the slots full).
    """

    def __init__(self, horizon: timedelta) -> None:
        self._span = horizon / GENERATIONS
        self._horizon = horizon
        self._sources: list[str] = []
        self._numbers: dict[str, int] = {}
        self._generations: list[tuple[datetime, _KeyTable]] = []
        self.forgotten: dict[str, int] = {}
        """For each source the highest position whose key was dropped."""

    def __len__(self) -> int:
        return sum(table.size for _, table in self._generations)

    @property
    def nbytes(self) -> int:
        """The bytes of memory that the keys take."""
        return sum(table.nbytes for _, table in self._generations)

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        """Look up keys; `digests` has `_hash` and `_hash_low`, and one row for each key.

        Returns `_source` and `_position` of the written rows, null for a new key, and `_content`, 0 if it is not known.
        """
        high, low = _columns(digests)
        numbers = np.zeros(len(high), dtype=np.uint16)
        positions = np.zeros(len(high), dtype=np.int64)
        contents = np.zeros(len(high), dtype=np.uint16)
        for _, table in self._generations:
            table.find(high, low, numbers, positions, contents)
        names = pl.Series(SOURCE, [None, *self._sources], dtype=pl.String)
        known = pl.Series(numbers != 0)
        written_at = pl.Series(POSITION, positions)
        return pl.DataFrame(
            [
                names.gather(pl.Series(numbers.astype(np.uint32))),
                written_at.zip_with(known, _NULL),
                pl.Series(CONTENT, contents),
            ]
        )

    def restore(self, rows: pl.DataFrame, written: pl.Series, now: datetime) -> None:
        """Add rows of a table to an empty index; `written` has the time at which each was written.

        Ages are counted from the newest row, not from `now`: a stream that was down for longer than the horizon still
        knows its last rows. Rows from before the horizon are kept as long as the newest.
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
        """Add rows that were written at `now`; their keys must be new and distinct. Drop keys older than the horizon.

        The rows have `_hash`, `_hash_low`, `_source`, `_position`, and `_content` if it is known.
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
        contents = rows[CONTENT].to_numpy() if CONTENT in rows.columns else np.zeros(len(rows), dtype=np.uint16)
        self._generations[-1][1].add(high, low, self._numbered(rows[SOURCE]), rows[POSITION].to_numpy(), contents)

    def _numbered(self, sources: pl.Series) -> Small:
        """Return the sources as small integers from 1; 0 marks an empty slot."""
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
    """The keys of one generation: double hashing over a prime number of slots."""

    def __init__(self) -> None:
        self.size = 0
        self.highest: dict[int, int] = {}
        """The highest position of each source, by number."""
        self._make(SMALLEST)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self._high, self._low, self._source, self._position, self._content))

    def _make(self, slots: int) -> None:
        self._slots = slots
        self._high = np.zeros(slots, dtype=np.int64)
        self._low = np.zeros(slots, dtype=np.int64)
        self._source = np.zeros(slots, dtype=np.uint16)
        self._position = np.zeros(slots, dtype=np.int64)
        self._content = np.zeros(slots, dtype=np.uint16)

    def find(self, high: Integers, low: Integers, sources: Small, positions: Integers, contents: Small) -> None:
        """Set `sources`, `positions` and `contents` for the keys that are in this table; leave the others unchanged."""
        at, step = self._start(high, low)
        pending = np.arange(len(high))
        while len(pending):
            slot = at[pending]
            occupied = self._source[slot] != 0
            matches = occupied & (self._high[slot] == high[pending]) & (self._low[slot] == low[pending])
            sources[pending[matches]] = self._source[slot[matches]]
            positions[pending[matches]] = self._position[slot[matches]]
            contents[pending[matches]] = self._content[slot[matches]]
            pending = pending[occupied & ~matches]
            at[pending] = (at[pending] + step[pending]) % self._slots

    def add(self, high: Integers, low: Integers, sources: Small, positions: Integers, contents: Small) -> None:
        """Add new, distinct keys."""
        if self.size + len(high) > self._slots * MAX_LOAD:
            self._grow(self.size + len(high))
        self._put(high, low, sources, positions, contents)
        self.size += len(high)
        for number in np.unique(sources).tolist():
            highest = int(positions[sources == number].max())
            self.highest[number] = max(highest, self.highest.get(number, highest))

    def _put(self, high: Integers, low: Integers, sources: Small, positions: Integers, contents: Small) -> None:
        at, step = self._start(high, low)
        pending = np.arange(len(high))
        while len(pending):
            slot = at[pending]
            free = self._source[slot] == 0
            trying, into = pending[free], slot[free]
            self._high[into], self._low[into] = high[trying], low[trying]  # of several keys for a slot the last stays
            placed = (self._high[into] == high[trying]) & (self._low[into] == low[trying])
            self._source[into[placed]] = sources[trying[placed]]
            self._position[into[placed]] = positions[trying[placed]]
            self._content[into[placed]] = contents[trying[placed]]
            pending = np.concatenate([pending[~free], trying[~placed]])
            at[pending] = (at[pending] + step[pending]) % self._slots

    def _grow(self, keys: int) -> None:
        full = np.flatnonzero(self._source)
        high, low, positions = self._high[full], self._low[full], self._position[full]
        sources, contents = self._source[full], self._content[full]
        self._make(_prime(max(math.ceil(keys / MAX_LOAD), math.ceil(self._slots * GROWTH))))
        self._put(high, low, sources, positions, contents)

    def _start(self, high: Integers, low: Integers) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        at = (low.view(np.uint64) % np.uint64(self._slots)).astype(np.int64)
        step = (high.view(np.uint64) % np.uint64(self._slots - 1)).astype(np.int64) + 1
        return at, step


def _prime(least: int) -> int:
    """Return the smallest prime that is at least `least`."""
    number = least | 1
    while any(number % divisor == 0 for divisor in range(3, math.isqrt(number) + 1, 2)):
        number += 2
    return number
