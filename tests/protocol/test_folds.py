"""No order of folds, kills, late statements, batches and read-again records leaves another row than the newest."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.protocol.fold_machine import FoldProtocol
from tests.protocol.test_protocol import BOUNDED


def machine(versioned: bool) -> type[FoldProtocol]:
    """The model of a table with or without `versionBy`."""
    return type("Folds", (FoldProtocol,), {"versioned": versioned})


@pytest.mark.parametrize("versioned", [False, True])
def test_the_newest_record_is_the_row(versioned: bool) -> None:
    run_state_machine_as_test(machine(versioned), settings=settings(BOUNDED, max_examples=60))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("versioned", [False, True])
def test_the_newest_record_is_the_row_in_many_orders(versioned: bool) -> None:
    long = settings(BOUNDED, max_examples=10_000, stateful_step_count=60, derandomize=False)
    run_state_machine_as_test(machine(versioned), settings=long)
