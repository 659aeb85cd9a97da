"""Which offsets of a partition may be committed: every record below them has left by one of the three doors.

A block is stamped with the exact runs of consecutive offsets that it holds and with the parts that it is split into.
Each part is acknowledged once, by the step that makes its records durable. A run is complete when every part of its
block is acknowledged. The offset to commit moves over complete runs, in order. Blocks may come in any order.
A gap between runs (compaction, transaction markers) is closed only after the broker confirms that it holds no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from transforms.tally import Tally

__all__ = ["DEAD_LETTERS", "Ack", "Broker", "KeyedAck", "Line", "Partition", "Stamp", "run_of", "runs_of"]

DEAD_LETTERS = -1
"""The part of a block that holds its refused records. The other parts are the numbers of buckets."""
LOST_AFTER_SECONDS = 60.0
"""How long blocks in flight may still fill a gap below the broker's first offset."""
ASK_AGAIN_SECONDS = 60.0
"""How long to trust the broker's answer that a record exists."""
KeyedAck = tuple[str, bytes]
"""A source and a packed Ack: acknowledgements are grouped by source."""


class Stamp(msgspec.Struct, frozen=True):
    """A block's provenance: a random id, its table and source, and the sorted runs of offsets (first, last) it holds.

    `parts` names the parts that it is split into: numbers of buckets, and DEAD_LETTERS for its refused records.
    """

    block: bytes
    table: str
    source: str
    runs: tuple[tuple[int, int], ...]
    parts: tuple[int, ...] = ()

    def pack(self) -> bytes:
        """Encode as msgpack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> Stamp:
        """Decode what `pack` returned."""
        return msgspec.msgpack.decode(packed, type=cls)


class Ack(msgspec.Struct, frozen=True):
    """The records of one part of a stamped block are durable. `tallies` counts them, one Tally for each run."""

    stamp: Stamp
    part: int
    tallies: tuple[Tally, ...]

    def pack(self) -> bytes:
        """Encode as msgpack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> Ack:
        """Decode what `pack` returned."""
        return msgspec.msgpack.decode(packed, type=cls)


class Line(msgspec.Struct, frozen=True):
    """A line of the ledger: the records from offset `first` to offset `last`, inclusive."""

    first: int
    last: int
    tally: Tally


class Broker(Protocol):
    """Answers about one partition that only the broker can give."""

    def beginning(self) -> int:
        """The first offset that the broker still has."""
        ...

    def next_record(self, offset: int) -> int:
        """The offset of the first record that a reader sees at or after `offset`; the caller knows that one exists."""
        ...


class _OpenBlock(msgspec.Struct):
    """A block with parts that are not acknowledged yet (`missing`), and the tally of each of its runs so far."""

    missing: set[int]
    tallies: list[Tally]


class Partition(msgspec.Struct):
    """The progress of one partition. Records below `at` are safe, records below `start` are in the ledger."""

    start: int
    at: int
    pending: Tally = msgspec.field(default_factory=Tally)
    """The records from `start` to `at`."""
    open: dict[bytes, _OpenBlock] = {}
    done: dict[int, tuple[int, Tally]] = {}
    """Complete runs behind `at`: last offset and tally by first offset."""
    lost: list[tuple[int, int]] = []
    """Ranges (first, last) that the broker removed before they were read."""
    awaited: int | None = None
    """The offset of the first record behind the gap at `at`: the broker has it, so its block is in flight."""
    asked_at: float = 0.0
    removed_since: float | None = None
    """Since when the broker is known to have removed the record at `at`."""
    goal: int = 0
    """The end of the partition when this process began with it. Below it the partition catches up."""
    anchor: float | None = None
    """The anchor to commit, see anchors.py, in seconds since 1970; None if it is not known."""
    resumed_at: float = 0.0
    """When this process began with the partition. This and the next are times of the clock that anchors have."""
    touched_at: float = 0.0
    """When a process last looked at the partition."""

    @classmethod
    def starting_at(cls, offset: int) -> Partition:
        """A partition whose records below `offset` are safe."""
        return cls(start=offset, at=offset)

    def acknowledge(self, ack: Ack) -> None:
        """Note that a part is durable. A part that is acknowledged again, or a run below `at`, changes nothing."""
        stamp = ack.stamp
        block = self.open.get(stamp.block)
        if block is None:
            reads = [Tally(read=last - first + 1) for first, last in stamp.runs]
            block = self.open[stamp.block] = _OpenBlock(set(stamp.parts), reads)
        if ack.part not in block.missing:
            return
        block.missing.remove(ack.part)
        for tally, more in zip(block.tallies, ack.tallies, strict=True):
            tally.add(more)
        if not block.missing:
            del self.open[stamp.block]
            for (first, last), tally in zip(stamp.runs, block.tallies, strict=True):
                if last >= self.at:  # the beginning of a run may have been given up as lost
                    self.done[max(first, self.at)] = (last, tally)

    def advance(self, broker: Broker, now: float) -> None:
        """Move `at` over complete runs. A gap below the broker's first offset is `lost` after LOST_AFTER_SECONDS."""
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
                continue  # if it was removed meanwhile, there may have been records before it
            if self.awaited < following:
                return
            self._move(following)

    def _move(self, offset: int) -> None:
        self.at, self.awaited, self.removed_since = offset, None, None

    def resume(self, end: int, anchor: float | None, now: float) -> None:
        """Note that a process begins with the partition, which ends at `end` and was committed with `anchor`."""
        self.goal, self.anchor, self.resumed_at = end, anchor, now

    def anchored(self, horizon: float, now: float) -> float | None:
        """Return the anchor to commit with `at`: `now`, unless the partition is still catching up."""
        if self.at >= self.goal or now - self.resumed_at >= horizon:
            self.anchor = now
        return self.anchor

    def line(self, committed: int) -> Line | None:
        """Take the ledger line to write before `at` is committed; None if `at` is not greater than `committed`."""
        if self.at <= max(committed, self.start):
            return None
        line = Line(self.start, self.at - 1, self.pending)
        self.start, self.pending = self.at, Tally()
        return line


def runs_of(offsets: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Return the runs (first, last) of consecutive numbers in sorted distinct `offsets`, shape (n,)."""
    ends = np.flatnonzero(np.diff(offsets) != 1)
    firsts = offsets[np.concatenate([[0], ends + 1])]
    lasts = offsets[np.concatenate([ends, [len(offsets) - 1]])]
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def run_of(offsets: npt.NDArray[np.int64], runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return the index of the run of each of `offsets`, shape (n,)."""
    return np.searchsorted([first for first, _ in runs], offsets, side="right") - 1
