"""The state of a run in a process: one for each token, dropped at its end, never mixed with another's."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.metrics import BYTES, INDEX_KEYS, RECORDS
from transforms.run_state import RunEnded, RunState, has_ended, registered, state_of


class Part:
    """A part that knows whether it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class OtherPart(Part):
    """Another kind of part."""


def test_steps_find_the_registered_state_by_its_token() -> None:
    state = RunState()
    with registered("found", state):
        assert state_of("found") is state
        assert not has_ended("found")


def test_two_runs_in_one_process_do_not_mix() -> None:
    first, second = RunState(), RunState()
    with registered("first", first), registered("second", second):
        state_of("first").metrics.count(BYTES, 3, "table")
        state_of("second").metrics.count(BYTES, 5, "table")
        state_of("second").progress.add(records=7)
        assert state_of("first").part(Part) is not state_of("second").part(Part)
    assert first.metrics.numbers(BYTES) == {("table",): 3}
    assert second.metrics.numbers(BYTES) == {("table",): 5}
    assert (first.progress.records, second.progress.records) == (0, 7)


def test_a_part_is_created_once_and_closed_at_the_end_of_the_run() -> None:
    state = RunState()
    with registered("parts", state):
        with ThreadPoolExecutor(8) as pool:
            barrier = threading.Barrier(8)

            def ask() -> Part:
                barrier.wait()
                return state_of("parts").part(Part)

            parts = {id(future.result()) for future in [pool.submit(ask) for _ in range(8)]}
        part, other = state.part(Part), state.part(OtherPart)
        assert parts == {id(part)}
        assert other is not part
    assert part.closed
    assert other.closed


def test_a_step_that_runs_on_after_its_run_has_ended_is_stopped() -> None:
    with pytest.raises(ZeroDivisionError), registered("ended", RunState()):
        _ = 1 / 0
    assert has_ended("ended")
    with pytest.raises(RunEnded, match="the run with token ended has ended in this process"):
        state_of("ended")


def test_a_worker_elsewhere_creates_the_state_and_drops_that_of_an_earlier_run() -> None:
    with registered("launcher", RunState()) as _:
        earlier = state_of("earlier run")
        assert state_of("earlier run") is earlier
        part = earlier.part(Part)
        later = state_of("later run")
        assert later is not earlier
        assert part.closed
        assert state_of("later run") is later
        assert not has_ended("earlier run")


def test_a_run_is_registered_before_its_first_step() -> None:
    state_of("too early")
    with pytest.raises(RuntimeError, match="has a state in this process already"), registered("too early", RunState()):
        pytest.fail("it was registered")


def test_a_run_is_registered_once() -> None:
    with registered("once", RunState()):
        pass
    with pytest.raises(RuntimeError, match="has a state in this process already"), registered("once", RunState()):
        pytest.fail("it was registered again")


def test_what_one_process_has_counted_is_added_in_another_once() -> None:
    worker, launcher = RunState(), RunState()
    launcher.progress.add(bytes=1)
    launcher.metrics.count(BYTES, 1, "t")
    worker.metrics.gauge(INDEX_KEYS, 9, "t", "", "0")
    for _ in range(2):
        worker.progress.add(bytes=10, records=2, dead_letters=1)
        worker.metrics.count(BYTES, 10, "t")
        worker.metrics.count(RECORDS, 2, "t", "read")
        launcher.add(pickle.loads(pickle.dumps(worker.take())))
    assert not worker.take(), "nothing is taken twice"
    assert (launcher.progress.bytes, launcher.progress.records, launcher.progress.dead_letters) == (21, 4, 2)
    assert launcher.metrics.numbers(BYTES) == {("t",): 21}
    assert launcher.metrics.numbers(RECORDS) == {("t", "read"): 4}
    assert worker.metrics.numbers(INDEX_KEYS) == {("t", "", "0"): 9}
