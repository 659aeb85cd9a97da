"""Reads that are shared: each begins after it was asked for, and few are made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.shared_calls import SharedCalls
from tests.waiting import wait_until


def test_all_that_come_during_a_read_share_the_next_one() -> None:
    calls, made, go_on = SharedCalls(), list[list[int]](), threading.Event()

    def fetch(wanted: Sequence[int]) -> list[int]:
        made.append(sorted(wanted))
        go_on.wait(10)
        return [10 * number for number in wanted]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(calls.result, "t", 0, fetch)
        wait_until(lambda: made == [[0]], 5)
        others = [pool.submit(calls.result, "t", number, fetch) for number in range(1, 7)]
        elsewhere = pool.submit(calls.result, "other", 9, fetch)
        wait_until(lambda: [9] in made and len(calls._waiting.get("t", [])) == 6, 5)
        go_on.set()
        assert [first.result(), elsewhere.result()] == [0, 90]
        assert [other.result() for other in others] == [10, 20, 30, 40, 50, 60]
    assert made == [[0], [9], [1, 2, 3, 4, 5, 6]]


def test_a_read_that_fails_fails_for_all_and_the_next_one_is_made() -> None:
    calls = SharedCalls()

    def fails(wanted: Sequence[int]) -> list[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        calls.result("t", 1, fails)
    assert calls.result("t", 1, list) == 1
