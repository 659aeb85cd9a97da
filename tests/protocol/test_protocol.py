"""No order of effects, kills and lapses that the model finds loses a row or writes one twice.

For each defect that the protocol had, one order is written out: with the defect it doubles a row, without it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.protocol.fold_machine import FoldProtocol
from tests.protocol.machine import DEFECTS, NEWEST_ROW, NO_FENCE, NO_LEASE, NOT_FOUND, Protocol

BOUNDED = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
"""The same examples each time. Nothing is shrunk: that takes longer than to find it."""


def machine(defect: str | None) -> type[Protocol]:
    """The model with a planted defect."""
    return type("Planted", (Protocol,), {"defect": defect})


@contextmanager
def started(defect: str | None) -> Iterator[Protocol]:
    """The model, whose processes are killed in the end."""
    model = machine(defect)()
    with closing(Ending(model)):
        yield model


class Ending:
    """What ends a model."""

    def __init__(self, model: Protocol | FoldProtocol) -> None:
        self.close = model.teardown


def a_batch_while_the_lease_of_a_stream_has_lapsed(model: Protocol) -> None:
    model.produce(["a"])
    model.start_stream(run=True)
    model.half_a_minute_passes(beats=False)
    model.start_batch(["b"], steps=300)
    end_statements(model)
    model.processes[1].run()
    model.produce(["b"])
    model.processes[0].run()


def a_statement_that_outlives_its_batch(model: Protocol) -> None:
    model.start_batch(["a"], steps=300)
    model.world.advance(model.statements()[0])  # it has read the table
    model.processes[0].kill()
    model.half_a_minute_passes(beats=False)
    model.start_batch(["a"], steps=300)
    end_statements(model)


def a_write_stream_that_is_unknown_for_a_moment(model: Protocol) -> None:
    model.hide_the_next_stream()
    model.produce(["a"])
    model.start_stream(run=True)
    model.half_a_minute_passes(beats=False)
    model.start_stream(run=True)
    model.produce(["b"])
    model.processes[1].run()
    model.processes[0].run()
    model.produce(["c"])
    model.processes[0].run()
    model.processes[1].run()


def a_second_kill_after_a_long_downtime(model: Protocol) -> None:
    model.produce(["a"])
    model.start_stream(run=True)
    model.processes[0].kill()
    model.two_days_pass()
    model.produce(["b", "c", "a"])
    model.start_stream(run=False)
    while model.world.committed < 3:
        model.processes[1].step()
    model.processes[1].kill()
    model.half_a_minute_passes(beats=False)
    model.start_stream(run=True)


def end_statements(model: Protocol) -> None:
    """Let all statements take effect."""
    while statements := model.statements():
        model.world.advance(statements[-1])


ORDERS: dict[str, Callable[[Protocol], None]] = {
    NO_FENCE: a_batch_while_the_lease_of_a_stream_has_lapsed,
    NO_LEASE: a_statement_that_outlives_its_batch,
    NOT_FOUND: a_write_stream_that_is_unknown_for_a_moment,
    NEWEST_ROW: a_second_kill_after_a_long_downtime,
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_an_order_that_doubled_a_row(defect: str) -> None:
    with started(defect) as model:
        ORDERS[defect](model)
        with pytest.raises(AssertionError):
            model.each_key_is_written_once()
    with started(None) as model:
        ORDERS[defect](model)
        model.each_key_is_written_once()
        model.what_is_committed_is_written()
        model.no_process_fails_for_another_reason()


def test_every_row_once() -> None:
    run_state_machine_as_test(machine(None), settings=BOUNDED)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("defect", DEFECTS)
def test_the_model_finds_a_planted_defect(defect: str) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(defect), settings=settings(BOUNDED, max_examples=5000))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_row_once_in_many_orders() -> None:
    long = settings(BOUNDED, max_examples=20_000, stateful_step_count=60, derandomize=False)
    run_state_machine_as_test(machine(None), settings=long)
