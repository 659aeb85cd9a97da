"""Bisection finds exactly the items that raise, and does the others in order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.bisect import bisect


@given(st.integers(0, 300), st.sets(st.integers(0, 299), max_size=12))
def test_the_items_that_raise_are_found_and_the_others_done_in_order(count: int, bad: set[int]) -> None:
    calls = 0

    def attempt(part: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if raising := bad.intersection(part):
            raise ValueError(min(raising))
        return list(part)

    results, failures = bisect(range(count), attempt)
    expected = [number for number in range(count) if number in bad]
    assert [number for part in results for number in part] == [n for n in range(count) if n not in bad]
    assert [number for number, _ in failures] == expected
    assert [error.args for _, error in failures] == [(number,) for number in expected]
    assert calls <= max(1, 2 * len(expected) * (1 + count.bit_length()))


def test_one_call_is_enough_where_nothing_raises() -> None:
    assert bisect([1, 2, 3], lambda part: part) == ([[1, 2, 3]], [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_not_about_data_passes_through(error: type[BaseException]) -> None:
    def attempt(part: Sequence[int]) -> None:
        raise error

    with pytest.raises(error):
        bisect(range(4), attempt)


def test_an_error_without_any_item_passes_through() -> None:
    def attempt(part: Sequence[int]) -> None:
        raise ValueError("not about data")

    with pytest.raises(ValueError, match="not about data"):
        bisect([], attempt)


def test_memory_that_one_item_needs_is_about_data() -> None:
    def attempt(part: Sequence[int]) -> int:
        if 3 in part:
            raise MemoryError
        return len(part)

    results, failures = bisect(range(4), attempt)
    assert sum(results) == 3
    assert [(item, type(error)) for item, error in failures] == [(3, MemoryError)]
