"""The progress of a stream: what is starting, its status, and what stays on the screen."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from console.stream_progress import Rate, stream_progress
from tests.waiting import wait_until
from transforms.progress import Status


def test_a_terminal_shows_the_start_then_the_status_which_stays() -> None:
    screen, logged = io.StringIO(), list[str]()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    with stream_progress(console, logged.append) as show:
        time.sleep(0.4)
        assert "starting the stream, 0 s" in screen.getvalue()
        show(Status(5, 10, 20, 8, 1, 1))
        time.sleep(0.4)
        assert "lag 20, written 8," in screen.getvalue()
    assert logged == ["5 s: 2 records/s, lag 20, written 8, duplicates 1, dead letters 1"]


def test_a_pipe_is_told_how_long_a_stream_starts_and_its_first_status_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.stream_progress.LINE_SECONDS", 0.2)
    logged: list[str] = []
    with stream_progress(Console(file=io.StringIO()), logged.append) as show:
        wait_until(lambda: logged)
        assert set(logged) == {"starting the stream, 0 s"}
        show(Status(5, 10, 20, 8, 1, 1))
        assert logged[-1].startswith("5 s: 2 records/s")
        before = list(logged)
        show(Status(6, 10, 20, 8, 1, 1))
        assert logged == before, "the next line comes later"
        time.sleep(0.5)
        assert logged == before
        show(Status(7, 10, 20, 8, 1, 1))
        assert len(logged) == len(before) + 1


def test_a_stream_that_was_stopped_before_its_first_status_leaves_no_line() -> None:
    logged: list[str] = []
    with stream_progress(Console(file=io.StringIO(), force_terminal=True, width=80), logged.append):
        pass
    assert logged == []


def test_a_stream_that_writes_nothing_says_so() -> None:
    rate = Rate()
    assert "row" not in rate.line(Status(5, 0, 20, 0, 0, 0))
    assert rate.line(Status(12, 0, 20, 0, 0, 0)).endswith("dead letters 0, no row yet")
    assert "row" not in rate.line(Status(13, 0, 20, 4, 0, 0))
    assert rate.line(Status(40, 0, 20, 4, 0, 0)).endswith("dead letters 0, last row 27 s ago")
    assert "row" not in rate.line(Status(60, 0, 0, 4, 0, 0)), "a stream that has read everything waits for records"


def test_a_line_fits_a_terminal() -> None:
    line = Rate().line(Status(999, 0, 8_000, 99_999, 999, 999))
    assert len(line) <= 80, line
    assert not re.search(r"\d{4}", line)
