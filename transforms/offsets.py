"""Which offsets of a partition are safe: every record below them has left by one of the three doors.

A block is stamped with the exact runs of offsets that it holds and with the parts that it was split into. Each
part is acknowledged once, by the step that made its records durable. A run is done when every part of its block
is in; the offset that may be committed moves over runs that are done, in order. Blocks come in any order.
A hole between runs (compaction, marks of transactions) is closed only where the broker says that it holds no record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Ack", "Broker", "Line", "Partition", "Stamp", "Tally", "run_of", "runs_of"]

LOST_AFTER_SECONDS = 60.0
"""How long a gap below the broker's first offset may still be filled by blocks that are on their way."""
ASK_AGAIN_SECONDS = 60.0
"""How long the broker's word holds that a record is there."""


class Tally(msgspec.Struct, omit_defaults=True):
    """What became of some records. `latency` counts written rows by class of latency, see latency.py."""

    read: int = 0
    written: int = 0
    duplicate: int = 0
    dead_letter_by_code: dict[str, int] = {}
    latency: dict[int, int] = {}

    @property
    def dead_letter(self) -> int:
        """Refused records."""
        return sum(self.dead_letter_by_code.values())

    @property
    def difference(self) -> int:
        """Records that were read and came through no door."""
        return self.read - self.written - self.duplicate - self.dead_letter

    def add(self, other: Tally) -> None:
        """Count the records of `other` too."""
        self.read += other.read
        self.written += other.written
        self.duplicate += other.duplicate
        self.dead_letter_by_code = _sum(self.dead_letter_by_code, other.dead_letter_by_code)
        self.latency = _sum(self.latency, other.latency)


def _sum(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}} if other else dict(one)


class Stamp(msgspec.Struct, frozen=True):
    """A block's provenance: a random id, its source, and the sorted runs of offsets (first, last) that it holds.

    `parts` names what it was split into: numbers of buckets, and LETTERS for its refused records.
    """

    block: bytes
    table: str
    source: str
    runs: tuple[tuple[int, int], ...]
    parts: tuple[int, ...] = ()


class Ack(msgspec.Struct, frozen=True):
    """The part `part` of a stamped block is durable; `tallies` says by which doors, one for each run of the stamp."""

    stamp: Stamp
    part: int
    tallies: tuple[Tally, ...]


class Line(msgspec.Struct, frozen=True):
    """A line of the ledger: all records from `first` to `last`, both included."""

    first: int
    last: int
    tally: Tally


class Broker(Protocol):
    """What only the broker can say of one partition."""

    def beginning(self) -> int:
        """The first offset that it still has."""
        ...

    def next_record(self, offset: int) -> int:
        """The offset of the first record that a reader sees at or after `offset`; there is one."""
        ...


class _Open(msgspec.Struct):
    left: set[int]
    tallies: list[Tally]


class Partition(msgspec.Struct):
    """What is known of one partition. `start` is the end of the last line, `at` the end of what is done."""

    start: int
    at: int
    pending: Tally = msgspec.field(default_factory=Tally)
    open: dict[bytes, _Open] = {}
    done: dict[int, tuple[int, Tally]] = {}
    lost: list[tuple[int, int]] = []
    awaited: int | None = None
    """The first record behind the gap at `at`: the broker has it, so its block is on its way."""
    asked_at: float = 0.0
    removed_since: float | None = None
    """Since when the broker is known to have removed what was at `at`."""

    @classmethod
    def starting_at(cls, offset: int) -> Partition:
        """A partition whose records below `offset` are safe."""
        return cls(start=offset, at=offset)

    def acknowledge(self, ack: Ack) -> None:
        """Take in a part. A run below `at` is counted already and changes nothing."""
        stamp = ack.stamp
        found = self.open.get(stamp.block)
        if found is None:
            reads = [Tally(read=last - first + 1) for first, last in stamp.runs]
            found = self.open[stamp.block] = _Open(set(stamp.parts), reads)
        if ack.part not in found.left:
            return
        found.left.remove(ack.part)
        for tally, more in zip(found.tallies, ack.tallies, strict=True):
            tally.add(more)
        if not found.left:
            del self.open[stamp.block]
            for (first, last), tally in zip(stamp.runs, found.tallies, strict=True):
                if last >= self.at:  # the beginning of a run may have been given up
                    self.done[max(first, self.at)] = (last, tally)

    def advance(self, broker: Broker, now: float) -> None:
        """Move `at` over what is done. A gap below the broker's first offset is `lost` when it stays."""
        while self.done:
            if self.at in self.done:
                last, tally = self.done.pop(self.at)
                self.pending.add(tally)
                self._move(last + 1)
                continue
            following = min(self.done)
            beginning = broker.beginning()
            if self.at < beginning:
                if self.removed_since is None:
                    self.removed_since = now
                if now - self.removed_since < LOST_AFTER_SECONDS:
                    return
                until = min(beginning, following)
                self.lost.append((self.at, until - 1))
                self._move(until)
                continue
            if self.awaited is None or now - self.asked_at >= ASK_AGAIN_SECONDS:  # compaction may have removed it
                self.awaited, self.asked_at = broker.next_record(self.at), now
                continue  # was it removed meanwhile, there may have been records before what was found
            if self.awaited < following:
                return
            self._move(following)

    def _move(self, offset: int) -> None:
        self.at, self.awaited, self.removed_since = offset, None, None

    def line(self, committed: int) -> Line | None:
        """The line to write before `at` is committed, None while `at` is not past what is `committed`."""
        if self.at <= max(committed, self.start):
            return None
        found = Line(self.start, self.at - 1, self.pending)
        self.start, self.pending = self.at, Tally()
        return found


def runs_of(offsets: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """The runs (first, last) of consecutive numbers in sorted distinct `offsets`, shape (n,)."""
    ends = np.flatnonzero(np.diff(offsets) != 1)
    firsts = offsets[np.concatenate([[0], ends + 1])]
    lasts = offsets[np.concatenate([ends, [len(offsets) - 1]])]
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def run_of(offsets: npt.NDArray[np.int64], runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """For each of `offsets` the index of its run, shape (n,)."""
    return np.searchsorted([first for first, _ in runs], offsets, side="right") - 1
