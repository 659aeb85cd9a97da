"""Reads that are shared: each begins after it was asked for, and few are made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.sinks.shared_reads import SharedReads
from tests.waiting import wait_until


def test_all_that_come_during_a_read_share_the_next_one() -> None:
    reads, made, go_on = SharedReads(), list[list[int]](), threading.Event()

    def fetch(wanted: Sequence[int]) -> list[int]:
        made.append(sorted(wanted))
        go_on.wait(10)
        return [10 * number for number in wanted]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(reads.read, "t", 0, fetch)
        wait_until(lambda: made == [[0]], 5)
        others = [pool.submit(reads.read, "t", number, fetch) for number in range(1, 7)]
        elsewhere = pool.submit(reads.read, "other", 9, fetch)
        wait_until(lambda: [9] in made and len(reads._waiting.get("t", [])) == 6, 5)
        go_on.set()
        assert [first.result(), elsewhere.result()] == [0, 90]
        assert [other.result() for other in others] == [10, 20, 30, 40, 50, 60]
    assert made == [[0], [9], [1, 2, 3, 4, 5, 6]]


def test_a_read_that_fails_fails_for_all_and_the_next_one_is_made() -> None:
    reads = SharedReads()

    def fails(wanted: Sequence[int]) -> list[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        reads.read("t", 1, fails)
    assert reads.read("t", 1, list) == 1
