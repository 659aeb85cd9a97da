"""The last step of a stream: offsets are committed when every record below them is safe, behind their ledger line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

from connectors.group_offsets import GroupOffsets, PartitionAtBroker
from connectors.stream_ledger import StreamLedger
from transforms.offsets import Ack, Partition

__all__ = ["CommitOffsets", "OffsetsLost"]

COMMIT_SECONDS = 1.0
"""How long what is done may wait for its line and its commit."""


class OffsetsLost(Exception):
    """The broker has removed records that were not read yet."""


class CommitOffsets(beam.DoFn):
    """(source, Ack) -> nothing; ledger lines and commits, at most one a partition and second."""

    STATE = ReadModifyWriteStateSpec("partition", BytesCoder())
    DUE = ReadModifyWriteStateSpec("due", BytesCoder())
    TIMER = TimerSpec("commit", TimeDomain.REAL_TIME)

    def __init__(self, ledger: StreamLedger, offsets: GroupOffsets, allow_lost: bool) -> None:
        self._ledger = ledger
        self._offsets = offsets
        self._allow_lost = allow_lost

    def process(
        self,
        element: tuple[str, bytes],
        state: Any = beam.DoFn.StateParam(STATE),  # noqa: B008  # Beam's way to say it
        due: Any = beam.DoFn.StateParam(DUE),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(TIMER),  # noqa: B008
    ) -> Iterator[None]:
        source, packed = element
        partition = self._partition(source, state)
        partition.acknowledge(msgspec.msgpack.decode(packed, type=Ack))
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
        """Move over what is done; write its line, then commit."""
        due.clear()
        partition = self._partition(source, state)
        broker = PartitionAtBroker(self._offsets, source)
        partition.advance(broker, time.time())
        self._report_lost(source, partition)
        committed = self._offsets.committed([source])[source]
        line = partition.line(committed or 0)
        if line is not None:
            self._ledger.record(source, [line])
            self._offsets.commit({source: line.last + 1})
        if partition.done:  # behind a gap: look again
            due.write(b"1")
            timer.set(time.time() + COMMIT_SECONDS)
        state.write(msgspec.msgpack.encode(partition))
        return iter(())

    def _partition(self, source: str, state: Any) -> Partition:
        stored = state.read()
        if stored:
            return msgspec.msgpack.decode(stored, type=Partition)
        committed = self._offsets.committed([source])[source]
        if committed is None:  # a partition that the topic did not have when the stream was started
            committed = self._offsets.beginnings([source])[source]
        return Partition.starting_at(committed)

    def _report_lost(self, source: str, partition: Partition) -> None:
        for first, last in partition.lost:
            if not self._allow_lost:
                raise OffsetsLost(f"the broker no longer has offsets {first} to {last} of {source}")
            self._ledger.record_lost(source, first, last)
        partition.lost = []
