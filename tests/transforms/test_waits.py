"""What is retried is said: after some seconds, in one line, and no longer than it lasts."""

from __future__ import annotations

import logging
import queue

import pytest

from console.stream_progress import Rate
from console.waits import NewLines, log_waits
from tests.logs import logged_by
from transforms import waits
from transforms.progress import Status
from transforms.waits import SAY_AFTER_SECONDS, SAY_AGAIN_SECONDS, STALE_SECONDS, Waits


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_wait_is_said_after_some_seconds_with_tries_time_and_the_latest_reason() -> None:
    clock = Clock()
    local = Waits(clock)
    local.failed("a", "BigQuery refuses the appends to shop.events", "UNAVAILABLE\n no")
    assert local.lines() == []
    clock.now += 12
    wait = local.failed("a", "BigQuery refuses the appends to shop.events", "INTERNAL why")
    assert local.lines() == ["BigQuery refuses the appends to shop.events (2 tries in 12 s): INTERNAL why"]
    assert wait.same_since == clock.now
    clock.now += 1
    assert local.failed("a", "BigQuery refuses the appends to shop.events", "INTERNAL why").same_since == clock.now - 1
    local.over("a")
    local.over("a")
    assert local.lines() == []


def test_many_that_meet_the_same_are_one_line_and_what_nobody_touches_is_over() -> None:
    clock = Clock()
    local = Waits(clock)
    for key, what in (("a", "one"), ("b", "two"), ("c", "two")):
        local.failed(key, what, "why")
        clock.now += 1
    clock.now += SAY_AFTER_SECONDS
    assert [line.partition(" ")[0] for line in local.lines()] == ["one", "two"]
    clock.now += STALE_SECONDS
    assert local.lines() == []
    assert local.failed("a", "one", "why").tries == 1


def test_another_thing_that_the_same_owner_meets_is_another_wait() -> None:
    """A request that was given up, and the next one of the same thread: its error has not been the same for long."""
    clock = Clock()
    local = Waits(clock)
    local.failed("thread", "BigQuery refuses GET /a", "500 internal")
    clock.now += 60
    wait = local.failed("thread", "BigQuery refuses GET /b", "500 internal")
    assert (wait.tries, wait.began, wait.same_since) == (1, clock.now, clock.now)
    assert local.lines() == []


def test_the_log_says_it_within_ten_seconds_and_not_each_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    local = Waits(clock)
    with caplog.at_level(logging.WARNING):
        for second in range(0, 61):
            clock.now = 100.0 + second
            local.failed("a", "it", "why")
    messages = logged_by("transforms.waits", caplog)
    assert messages[0] == f"it (4 tries in {SAY_AFTER_SECONDS:.0f} s): why"
    assert len(messages) == 1 + (60 - SAY_AFTER_SECONDS) // SAY_AGAIN_SECONDS


def test_a_wait_is_said_once_now_and_then_and_when_it_comes_back() -> None:
    new = NewLines()
    assert new.of(["it (1 try in 4 s): why", "other (2 tries in 4 s): why"], 10.0) == [
        "it (1 try in 4 s): why",
        "other (2 tries in 4 s): why",
    ]
    assert new.of(["it (3 tries in 6 s): why"], 12.0) == []
    assert new.of(["it (3 tries in 6 s): why", "other (9 tries in 7 s): why"], 13.0) == ["other (9 tries in 7 s): why"]
    assert new.of(["it (20 tries in 34 s): still"], 40.0) == ["it (20 tries in 34 s): still"]


def test_a_command_logs_what_is_retried_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SAY_AFTER_SECONDS", 0.0)
    lines = queue.SimpleQueue[str]()
    with log_waits(lines.put):
        waits.failed("a", "it", "why")
        assert lines.get(timeout=10) == "it (1 try in 0 s): why"
        assert waits.lines() == ["it (1 try in 0 s): why"]


def test_a_command_sees_the_waits_of_its_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SAY_AFTER_SECONDS", 0.0)
    with waits.observed() as first:
        waits.failed("a", "it", "why")
        with waits.observed() as second:
            assert waits.lines() == second.lines() == []
            waits.failed("b", "other", "why")
            waits.over("a")
        assert waits.lines() == first.lines() == ["it (1 try in 0 s): why"]
        waits.over("a")
        assert waits.lines() == []


def test_what_another_process_retries_is_shown_until_it_is_over() -> None:
    with waits.observed() as seen:
        waits.elsewhere(1, ["it (2 tries in 5 s): why"])
        waits.elsewhere(2, ["other (3 tries in 6 s): why"])
        assert seen.lines() == ["it (2 tries in 5 s): why", "other (3 tries in 6 s): why"]
        waits.elsewhere(1, [])
        assert seen.lines() == ["other (3 tries in 6 s): why"]


def test_the_status_line_says_what_is_waited_for_and_how_many_duplicates_differ() -> None:
    line = Rate().line(Status(9.0, 5, 1, 4, 3, 2, 1, "BigQuery refuses"))
    assert line.endswith("written 4, duplicates 3 (1 differ), dead letters 2; BigQuery refuses")
    assert Rate().line(Status(9.0, 5, 1, 4, 3, 2)).endswith("written 4, duplicates 3, dead letters 2")
