"""A model of who writes a table: streams and batches that lapse, are killed and come back, in any order of effects.

It drives the real BucketWriter, leases, write streams, statements and offsets. A defect can be planted, to show that
the model finds it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.bigquery.warehouse import JobFailed
from connectors.bookkeeping import leases as leases_module
from connectors.bookkeeping import write_streams
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.statements import end_statements, lease_condition, statement_id
from connectors.bookkeeping.write_streams import Bucket, WriteStreams
from connectors.retry import DeadlineExceeded, RetryPolicy
from connectors.sinks import bucket_writer, stored_keys
from connectors.sinks.bucket_writer import BucketWriter
from connectors.sinks.bucket_writers import LeaseLost
from connectors.sinks.commit_offsets import CommitOffsets, _CommitOffsets
from connectors.sinks.stored_keys import Progress, RowKeys
from contracts.table import Column, Kind, Table
from tests.e2e.bucket_writers import SCHEMA, rows_at
from tests.protocol.world import (
    SOURCE,
    TABLE,
    FakeGroup,
    FakeWarehouse,
    FakeWriteClient,
    Job,
    Process,
    Statement,
    World,
    batch_of,
    stored,
)
from transforms.anchors import resolve
from transforms.metrics import MetricValues
from transforms.offsets import Ack, Stamp
from transforms.tally import Tally

__all__ = ["DEFECTS", "NEWEST_ROW", "NOT_FOUND", "NO_FENCE", "NO_LEASE", "Protocol"]

HORIZON = timedelta(hours=1)
KEYS = ("a", "b", "c")
EVENTS = Table("events", (Column("id", Kind.STRING, required=True),), ("id",))
NO_FENCE, NO_LEASE = "a batch fences no stream", "statements carry no fence"
NOT_FOUND, NEWEST_ROW = "NOT_FOUND is proof", "the newest row is the anchor"
DEFECTS = (NO_FENCE, NO_LEASE, NOT_FOUND, NEWEST_ROW)
"""What the protocol was before decision 0015."""


class Cell:
    """A cell of Beam's state, or a timer."""

    def __init__(self) -> None:
        self._value: object = None

    def read(self) -> object:
        return self._value

    def write(self, value: object) -> None:
        self._value = value

    def clear(self) -> None:
        self._value = None

    def set(self, _: float) -> None:
        return


class Lines:
    """A ledger that nobody reads."""

    def record(self, source: str, lines: object) -> None:
        return

    def record_lost(self, source: str, first: int, last: int) -> None:
        raise AssertionError("nothing is lost here")


class Protocol(RuleBasedStateMachine):
    """Processes that share a table, its leases and a topic of one partition."""

    defect: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.processes: list[Process] = []
        self.seconds_running = 0.0
        self._stack = ExitStack()
        self._retry = RetryPolicy(300.0, 1e6, clock=lambda: self.world.now, sleep=self.world.sleep)
        self._patch()

    def _patch(self) -> None:
        world = self.world
        clock = SimpleNamespace(sleep=world.sleep, monotonic=lambda: world.now)

        def patch(module: Any, **values: object) -> None:
            for name, value in values.items():
                self._stack.enter_context(mock.patch.object(module, name, value))

        newest = HORIZON if self.defect == NEWEST_ROW else None
        patch(stored_keys, _stored=lambda p, r, b, columns, where: stored(world, where, newest).select(columns))
        patch(bucket_writer, time=clock, random=SimpleNamespace(random=lambda: 1.0))
        patch(bucket_writer, write_client=lambda: FakeWriteClient(world))
        patch(write_streams, time=clock, write_client=lambda: FakeWriteClient(world))
        patch(leases_module, end_statements=functools.partial(end_statements, sleep=world.sleep, clock=clock.monotonic))
        if self.defect == NO_FENCE:
            patch(WriteStreams, fence=lambda *_: None)
        if self.defect == NO_LEASE:
            patch(leases_module, end_statements=lambda *_: None)
        if self.defect == NOT_FOUND:
            finalize = write_streams.finalize
            patch(write_streams, finalize=lambda *arguments: finalize(*arguments) or True)

    # The programs

    def _leases(self) -> Leases:
        leases = Leases(FakeWarehouse(self.world), "d", self._retry)
        leases._clock = SimpleNamespace(now=self.world.time)  # type: ignore[assignment]
        return leases

    def _stream(self, token: str, process: Process) -> None:
        leases, world = self._leases(), self.world
        if leases.take([TABLE], token, token):
            return
        writer = self._writer(token, leases)
        group = FakeGroup(world)
        step = CommitOffsets(Lines(), group, False, HORIZON, world.time)
        commits, state, due, timer = _CommitOffsets(step), Cell(), Cell(), Cell()
        position = group.committed([SOURCE])[SOURCE] or 0
        while True:
            keys = world.log[position : position + 2]
            if not keys:
                process.point(idle=True)
                continue
            rows = rows_at({position + n: key for n, key in enumerate(keys)}, SOURCE)
            writer.append(rows, lambda rows, now: batch_of(rows, now, SCHEMA))
            stamp = Stamp(b"%d" % position, "events", SOURCE, ((position, position + len(keys) - 1),), (0,))
            commits.process((SOURCE, Ack(stamp, 0, (Tally(),)).pack()), state, due, timer)
            commits.commit(SOURCE, state, due, timer)
            position += len(keys)

    def _writer(self, token: str, leases: Leases) -> BucketWriter:
        world, warehouse = self.world, FakeWarehouse(self.world)

        def lost() -> None:
            if other := leases.other_holder(TABLE, token):
                raise LeaseLost(other)

        def progress() -> Progress:
            def effect() -> Progress:
                offsets, ends = {SOURCE: world.committed}, {SOURCE: len(world.log)}
                anchors = resolve(offsets, ends, {SOURCE: world.anchor}, lambda _: {}, world.time())
                return Progress(offsets, anchors[SOURCE])

            return world.call(effect)

        return BucketWriter(
            Bucket("d", "events", TABLE, 1, 0),
            SCHEMA,
            WriteStreams(warehouse, "d", token, self._retry),
            RowKeys(warehouse, self._retry, EVENTS, HORIZON),
            HORIZON,
            progress,
            lost,
            lambda: None,
            clock=world.time,
            metrics=MetricValues(),
        )

    def _batch(self, token: str, keys: tuple[str, ...], process: Process) -> None:
        leases, warehouse = self._leases(), FakeWarehouse(self.world)
        if leases.take([TABLE], token, token):
            return
        WriteStreams(warehouse, "d", token, self._retry).fence(TABLE)
        lease = "" if self.defect == NO_LEASE else lease_condition("leases", TABLE, token)
        warehouse.execute(Statement(keys, lease), statement_id("d", TABLE, token, token))
        leases.release([TABLE], token, finished=True)

    # What happens

    def _living(self) -> list[Process]:
        return [process for process in self.processes if not process.ended]

    def _start(self, program: Callable[..., None], *arguments: object) -> None:
        name = f"p{len(self.processes)}"
        self.processes.append(Process(name, self.world, functools.partial(program, name, *arguments)))

    @precondition(lambda self: len(self._living()) < 3)
    @rule(run=st.booleans())
    def start_stream(self, run: bool) -> None:
        self._start(self._stream)
        if run:
            self.processes[-1].run()

    @precondition(lambda self: len(self._living()) < 3)
    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, unique=True), steps=st.sampled_from([0, 10, 20, 300]))
    def start_batch(self, keys: list[str], steps: int) -> None:
        self._start(self._batch, tuple(keys))
        self.processes[-1].run(steps)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    def produce(self, keys: list[str]) -> None:
        self.world.log += keys

    @precondition(lambda self: self._living())
    @rule(data=st.data(), steps=st.sampled_from([1, 2, 5, 10, 300]))
    def run(self, data: st.DataObject, steps: int) -> None:
        data.draw(st.sampled_from(self._living())).run(steps)

    @precondition(lambda self: self._living())
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._living())).kill()

    @precondition(lambda self: self.world.late)
    @rule(data=st.data())
    def late_effect(self, data: st.DataObject) -> None:
        """The call of a process that was killed arrives."""
        self.world.late.pop(data.draw(st.integers(0, len(self.world.late) - 1)))()

    @precondition(lambda self: any(job.state != "DONE" for job in self.world.jobs.values()))
    @rule(data=st.data())
    def statement_goes_on(self, data: st.DataObject) -> None:
        self.world.advance(data.draw(st.sampled_from(self.statements())))

    def statements(self) -> list[Job]:
        """The statements that have not ended."""
        return [job for job in self.world.jobs.values() if job.state != "DONE"]

    @rule()
    def hide_the_next_stream(self) -> None:
        """BigQuery answers NOT_FOUND when it is asked for the first time to finalize the next write stream."""
        self.world.hide_next = True

    @precondition(lambda self: self.seconds_running < 1200)
    @rule(beats=st.booleans())
    def half_a_minute_passes(self, beats: bool) -> None:
        self.world.now += 31
        self.seconds_running += 31
        for process in self._living() if beats else ():
            self.world.beats[process.name] = self.world.now

    @precondition(lambda self: not self._living())
    @rule()
    def two_days_pass(self) -> None:
        self.world.now += 172_800

    @invariant()
    def each_key_is_written_once(self) -> None:
        counts = Counter(row[0] for row in self.world.rows)
        assert all(count == 1 for count in counts.values()), self.world.rows

    @invariant()
    def what_is_committed_is_written(self) -> None:
        held = {row[0] for row in self.world.rows}
        assert held.issuperset(self.world.log[: self.world.committed])

    @invariant()
    def no_process_fails_for_another_reason(self) -> None:
        for process in self.processes:
            known = process.error is None or process.killed
            assert known or isinstance(process.error, (LeaseLost, JobFailed, DeadlineExceeded)), process.error

    def teardown(self) -> None:
        for process in self._living():
            process.kill()
        self._stack.close()
