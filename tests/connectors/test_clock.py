"""BigQuery's clock, continued by the monotonic clock of a machine whose own clock may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.bigquery.clock import BigQueryClock

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Machine:
    """The clocks of a machine and of BigQuery, which answers after a second."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.wall = 0.0
        self.asked = 0

    def ask(self) -> datetime:
        now = NOON + timedelta(seconds=self.passed)
        self.asked += 1
        self.passed += 1
        self.wall += 1
        return now


def test_it_is_asked_once_and_never_runs_ahead() -> None:
    machine = Machine()
    clock = BigQueryClock(machine.ask, lambda: machine.passed, lambda: machine.wall)
    assert clock.now() == NOON  # a second ago: the answer took that long
    machine.passed += 60
    machine.wall += 60
    assert clock.now() == NOON + timedelta(seconds=60)
    assert machine.asked == 1


def test_it_is_asked_again_each_hour_and_after_a_sleep() -> None:
    machine = Machine()
    clock = BigQueryClock(machine.ask, lambda: machine.passed, lambda: machine.wall)
    clock.now()
    machine.wall += 25 * 3600  # a monotonic clock does not count a sleep; or somebody set the wall clock
    assert clock.now() == NOON + timedelta(seconds=1)
    machine.passed += 3600
    machine.wall += 3600
    assert clock.now() == NOON + timedelta(seconds=3602)
    assert machine.asked == 3


def test_without_an_answer_the_one_before_serves() -> None:
    machine = Machine()
    answers = iter([NOON])
    clock = BigQueryClock(lambda: next(answers), lambda: machine.passed, lambda: machine.wall)
    clock.now()
    machine.passed += 4000
    machine.wall += 4000
    assert clock.now() == NOON + timedelta(seconds=4000)
    machine.wall += 60  # but not if the machine has slept: nobody knows for how long
    with pytest.raises(StopIteration):
        clock.now()
