"""The last step of a stream: commit offsets once every record below them is durable, behind their ledger line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

from transforms.offsets import Ack, KeyedAck, Line, Partition

__all__ = ["CommitOffsets", "Offsets", "OffsetsLedger", "OffsetsLost"]

COMMIT_SECONDS = 1.0
"""How long complete runs may wait for their ledger line and their commit."""


class OffsetsLost(Exception):
    """The broker has removed records before they were read."""


class Offsets(Protocol):
    """The offsets of a consumer group, by source. It pickles."""

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        """The committed offset of each source, None if there is none."""
        ...

    def anchors(self, sources: Iterable[str]) -> dict[str, datetime | None]:
        """The anchor that was committed with the offset of each source, None if there is none."""
        ...

    def commit(self, offsets: Mapping[str, int], anchors: Mapping[str, datetime | None] | None = None) -> None:
        """Commit the offsets that are greater than the committed ones, with their anchors."""
        ...

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        """The end of what can be read of each source."""
        ...

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        """The first offset that the broker still has of each source."""
        ...

    def next_record(self, source: str, offset: int) -> int:
        """The offset of the first record that a reader sees at or after `offset`."""
        ...


class OffsetsLedger(Protocol):
    """The lines of a stream in the ledger. It pickles."""

    def record(self, source: str, lines: Sequence[Line]) -> None:
        """Add lines of one source."""
        ...

    def record_lost(self, source: str, first: int, last: int) -> None:
        """Add the line of a range that the broker removed before it was read."""
        ...


@dataclass(eq=False)
class CommitOffsets(beam.PTransform[tuple[PCollection[KeyedAck], ...], PCollection[None]]):
    """Gather the acknowledgements of all parts; write ledger lines and commit offsets. The output is empty.

    Each partition is written and committed at most once every COMMIT_SECONDS.

    Attributes:
        ledger: Where lines are written, before each commit.
        offsets: Where offsets are committed.
        allow_lost: Whether to continue, with a line in the ledger, when the broker has removed records before they were
            read. OffsetsLost is raised otherwise.
        horizon: How long keys are known, which the anchors are for, see transforms/anchors.py.
        clock: BigQuery's time.
    """

    ledger: OffsetsLedger
    offsets: Offsets
    allow_lost: bool
    horizon: timedelta
    clock: Callable[[], datetime]

    def expand(self, acks: tuple[PCollection[KeyedAck], ...]) -> PCollection[None]:
        committed: PCollection[None] = (
            acks | "Flatten acks" >> beam.Flatten() | "Commit" >> beam.ParDo(_CommitOffsets(self))
        )
        return committed


class _CommitOffsets(beam.DoFn):
    """KeyedAck -> nothing."""

    STATE = ReadModifyWriteStateSpec("partition", BytesCoder())
    DUE = ReadModifyWriteStateSpec("due", BytesCoder())
    TIMER = TimerSpec("commit", TimeDomain.REAL_TIME)

    def __init__(self, step: CommitOffsets) -> None:
        self._ledger = step.ledger
        self._offsets = step.offsets
        self._allow_lost = step.allow_lost
        self._horizon = step.horizon.total_seconds()
        self._clock = step.clock
        self._born: float | None = None
        """When this process first looked at a partition."""

    def process(
        self,
        element: KeyedAck,
        state: Any = beam.DoFn.StateParam(STATE),  # noqa: B008  # Beam's way to declare it
        due: Any = beam.DoFn.StateParam(DUE),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> Iterator[None]:
        source, packed = element
        partition = self._partition(source, state)
        partition.acknowledge(Ack.unpack(packed))
        state.write(msgspec.msgpack.encode(partition))
        if not due.read():
            due.write(b"1")
            timer.set(time.time() + COMMIT_SECONDS)
        return iter(())

    @on_timer(TIMER)
    def commit(
        self,
        source: str = beam.DoFn.KeyParam,  # type: ignore[assignment]
        state: Any = beam.DoFn.StateParam(STATE),  # noqa: B008
        due: Any = beam.DoFn.StateParam(DUE),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> Iterator[None]:
        """Move over complete runs; write their line, then commit."""
        due.clear()
        partition = self._partition(source, state)
        now = self._look_at(source, partition)
        partition.advance(_PartitionAtBroker(self._offsets, source), time.time())
        self._report_lost(source, partition)
        committed = self._offsets.committed([source])[source]
        line = partition.line(committed or 0)
        if line is not None:
            self._ledger.record(source, [line])
            anchor = partition.anchored(self._horizon, now)
            at = None if anchor is None else datetime.fromtimestamp(anchor, UTC)
            self._offsets.commit({source: line.last + 1}, {source: at})
        if partition.done:  # they are behind a gap: look again
            due.write(b"1")
            timer.set(time.time() + COMMIT_SECONDS)
        state.write(msgspec.msgpack.encode(partition))
        return iter(())

    def _partition(self, source: str, state: Any) -> Partition:
        stored = state.read()
        if stored:
            return msgspec.msgpack.decode(stored, type=Partition)
        committed = self._offsets.committed([source])[source]
        if committed is None:  # a partition that was added after the stream started
            committed = self._offsets.beginnings([source])[source]
        return Partition.starting_at(committed)

    def _look_at(self, source: str, partition: Partition) -> float:
        """Return BigQuery's time. A partition that comes from another process, or from before a pause, catches up."""
        now = self._clock().timestamp()
        if self._born is None:
            self._born = now
        if partition.touched_at < self._born:
            anchor = self._offsets.anchors([source])[source]
            end = self._offsets.ends([source])[source]
            partition.resume(end, None if anchor is None else anchor.timestamp(), now)
        partition.touched_at = now
        return now

    def _report_lost(self, source: str, partition: Partition) -> None:
        for first, last in partition.lost:
            if not self._allow_lost:
                raise OffsetsLost(f"the broker no longer has offsets {first} to {last} of {source}")
            self._ledger.record_lost(source, first, last)
        partition.lost = []


@dataclass(frozen=True)
class _PartitionAtBroker:
    """The Broker of one source."""

    offsets: Offsets
    source: str

    def beginning(self) -> int:
        return self.offsets.beginnings([self.source])[self.source]

    def next_record(self, offset: int) -> int:
        return self.offsets.next_record(self.source, offset)
