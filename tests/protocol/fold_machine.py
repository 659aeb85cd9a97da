"""Streams of updates, batches and statements in an order that Hypothesis chooses: the newest record is the row."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.bigquery.warehouse import JobFailed
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.statements import end_statements, lease_condition, statement_id
from connectors.retry import DeadlineExceeded, RetryPolicy
from connectors.sinks.bucket_writers import LeaseLost
from connectors.sinks.destination import Destination
from connectors.sinks.folder import Folder, Folding
from tests import runs
from tests.protocol.fold_world import SOURCE, STOCK, TABLE, FoldWorld, StockWarehouse
from tests.protocol.folding import Change, newest
from tests.protocol.world import Job, Process, Statement

__all__ = ["FoldProtocol"]

KEYS = (0, 1)
A_DAY = 86_400


class FoldProtocol(RuleBasedStateMachine):
    """Processes that share a table of updates, its leases and a topic of one partition."""

    versioned = False

    def __init__(self) -> None:
        super().__init__()
        self.world = FoldWorld(versioned=self.versioned)
        self.processes: list[Process] = []
        self.seconds_running = 0.0
        self._stack = ExitStack()
        self._retry = RetryPolicy(300.0, 1e6, clock=lambda: self.world.now, sleep=self.world.sleep)
        ended = functools.partial(end_statements, sleep=self.world.sleep, clock=lambda: self.world.now)
        for module in ("connectors.bookkeeping.leases", "connectors.bookkeeping.statements"):
            self._stack.enter_context(mock.patch(f"{module}.end_statements", ended))

    # The programs

    def _leases(self) -> Leases:
        leases = Leases(StockWarehouse(self.world), "d", self._retry)
        leases._clock = SimpleNamespace(now=self.world.time)  # type: ignore[assignment]
        return leases

    def _stream(self, token: str, process: Process) -> None:
        world, warehouse = self.world, StockWarehouse(self.world)
        if self._leases().take([TABLE], token, token):
            return
        run = replace(runs.RUN, run_id=token, token=token, operations_dataset="d")
        table = replace(STOCK, version_by="v" if self.versioned else None)
        to = Destination(run, {"stock": table}, {"stock": "d"}, warehouse)
        folder = Folder(Folding(to, lambda: world.call(lambda: {SOURCE: world.committed}), world.time, 1.0))
        while True:
            position = world.call(lambda: world.committed)
            block = world.topic[position : position + 2]
            if block:
                world.call(functools.partial(self._append, token, block))
                world.call(functools.partial(self._commit, token, position + len(block)))
            before = len(world.jobs)
            folder.fold()
            if not block and len(world.jobs) == before:
                process.point(idle=True)

    def _append(self, token: str, block: list[Change]) -> None:
        """The protocol of appends in one call: each place once, and only by who owns the bucket."""
        if self.world.leases[TABLE]["token"] != token:
            raise LeaseLost(token)
        known = {change.offset for change in self.world.changes}
        at = int(self.world.now)
        self.world.changes += [replace(change, at=at) for change in block if change.offset not in known]

    def _commit(self, token: str, position: int) -> None:
        if self.world.leases[TABLE]["token"] == token:
            self.world.committed = position

    def _batch(self, token: str, key: int, _: Process) -> None:
        leases, warehouse = self._leases(), StockWarehouse(self.world)
        if leases.take([TABLE], token, token):
            return
        self.world.loaded.add(key)
        lease = lease_condition("leases", TABLE, token)
        warehouse.execute(Statement((str(key),), lease), statement_id("d", TABLE, token, token))
        leases.release([TABLE], token, finished=True)

    # What happens

    def _living(self) -> list[Process]:
        return [process for process in self.processes if not process.ended]

    def _start(self, program: Callable[..., None], *arguments: object) -> Process:
        name = f"p{len(self.processes)}"
        self.processes.append(Process(name, self.world, functools.partial(program, name, *arguments)))
        return self.processes[-1]

    @precondition(lambda self: len(self._living()) < 3)
    @rule(steps=st.sampled_from([0, 20, 300]))
    def start_stream(self, steps: int) -> None:
        self._start(self._stream).run(steps)

    @precondition(lambda self: len(self._living()) < 3)
    @rule(key=st.sampled_from(KEYS), steps=st.sampled_from([10, 300]))
    def start_batch(self, key: int, steps: int) -> None:
        self._start(self._batch, key).run(steps)

    @rule(key=st.sampled_from(KEYS), deleted=st.booleans(), version=st.one_of(st.none(), st.integers(0, 3)))
    def produce(self, key: int, deleted: bool, version: int | None) -> None:
        offset = len(self.world.topic)
        self.world.topic.append(Change(0, offset, key, None if deleted else offset, version))

    @precondition(lambda self: self._living())
    @rule(data=st.data(), steps=st.sampled_from([1, 5, 20, 300]))
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

    def statements(self) -> list[Job]:
        """The statements that have not ended."""
        return [job for job in self.world.jobs.values() if job.state != "DONE"]

    @precondition(lambda self: self.statements())
    @rule(data=st.data())
    def statement_goes_on(self, data: st.DataObject) -> None:
        self.world.advance(data.draw(st.sampled_from(self.statements())))

    @precondition(lambda self: self.seconds_running < 1200)
    @rule(beats=st.booleans())
    def half_a_minute_passes(self, beats: bool) -> None:
        self.world.now += 31
        self.seconds_running += 31
        for process in self._living() if beats else ():
            self.world.beats[process.name] = self.world.now

    @precondition(lambda self: not self._living())
    @rule()
    def eight_days_pass(self) -> None:
        self.world.now += 8 * A_DAY

    @precondition(lambda self: not self._living() and self.world.topic)
    @rule(data=st.data())
    def the_group_is_set_back(self, data: st.DataObject) -> None:
        self.world.committed = data.draw(st.integers(0, self.world.committed))

    @invariant()
    def each_record_is_one_change(self) -> None:
        assert not [at for at, n in Counter(change.offset for change in self.world.changes).items() if n > 1]

    @invariant()
    def no_process_fails_for_another_reason(self) -> None:
        for process in self.processes:
            known = process.error is None or process.killed
            assert known or isinstance(process.error, (LeaseLost, JobFailed, DeadlineExceeded)), process.error

    def teardown(self) -> None:
        """Whatever happened: what the next stream leaves is the newest record of each key."""
        try:
            self._settle()
        finally:
            for process in self._living():
                process.kill()
            self._stack.close()

    def _settle(self) -> None:
        for process in self._living():
            process.kill()
        while self.world.late:
            self.world.late.pop()()
        self.world.now += 31
        stream = self._start(self._stream)
        for _ in self._rounds(stream):
            pass
        assert stream.error is None, stream.error
        assert self.world.committed == len(self.world.topic)
        expected = {}
        for key in set(KEYS) - self.world.loaded:
            its = [change for change in self.world.topic if change.key == key]
            if its and (chosen := newest(its, self.versioned)).qty is not None:
                expected[key] = chosen.qty
        table = {key: row.qty for key, row in self.world.table.items() if key not in self.world.loaded}
        assert table == expected

    def _rounds(self, stream: Process) -> Iterator[None]:
        """Let the stream and all statements go on until nothing is left to do."""
        for _ in range(200):
            stream.run()
            waiting = self.statements()
            if stream.ended or (stream.idle and not waiting):
                return
            for job in waiting:
                self.world.advance(job)
            yield
        raise AssertionError("it does not end")
