"""No order of folds, kills, late statements, batches and read-again records leaves another row than the newest."""

from __future__ import annotations

from contextlib import ExitStack, closing
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.protocol.fold_machine import FoldProtocol
from tests.protocol.test_protocol import BOUNDED, Ending


def machine(versioned: bool) -> type[FoldProtocol]:
    """The model of a table with or without `versionBy`."""
    return type("Folds", (FoldProtocol,), {"versioned": versioned})


@pytest.mark.parametrize("ends", [True, False])
def test_a_fold_that_outlives_its_stream_is_ended_by_the_next_one(ends: bool) -> None:
    """A stream is killed while its statement runs; if the next one did not end it, it would bring an old row back."""
    model = machine(versioned=False)()
    with closing(Ending(model)), ExitStack() as defects:
        if not ends:
            defects.enter_context(mock.patch("connectors.bookkeeping.leases.end_numbered"))
        model.produce(key=0, deleted=False, version=None)
        model.start_stream(steps=300)
        model.world.advance(model.statements()[0])  # it has read the changes
        model.processes[0].kill()
        model.half_a_minute_passes(beats=False)
        model.produce(key=0, deleted=True, version=None)
        model.start_stream(steps=300)
        while statements := model.statements():
            model.world.advance(statements[-1])
            model.processes[1].run()
        assert (model.world.table == {}) is ends


@pytest.mark.parametrize("versioned", [False, True])
def test_the_newest_record_is_the_row(versioned: bool) -> None:
    run_state_machine_as_test(machine(versioned), settings=settings(BOUNDED, max_examples=60))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("versioned", [False, True])
def test_the_newest_record_is_the_row_in_many_orders(versioned: bool) -> None:
    long = settings(BOUNDED, max_examples=10_000, stateful_step_count=60, derandomize=False)
    run_state_machine_as_test(machine(versioned), settings=long)
