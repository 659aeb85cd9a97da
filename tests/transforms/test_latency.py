"""Latencies by class against the latencies themselves."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.latency import count_latencies, quantile

LATENCIES = st.lists(st.integers(1, 10**9), min_size=1)


@given(LATENCIES, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_at_most_a_class_too_high(latencies: list[int], share: float) -> None:
    exact = sorted(latencies)[math.ceil(share * len(latencies)) - 1]
    result = quantile(count_latencies(np.array(latencies)), share)
    assert result is not None
    assert exact <= result * (1 + 1e-12)
    assert result <= exact * 2 ** (1 / 8) * (1 + 1e-12)


@given(LATENCIES, LATENCIES)
def test_counts_add_up(one: list[int], other: list[int]) -> None:
    apart = Counter(count_latencies(np.array(one))) + Counter(count_latencies(np.array(other)))
    assert apart == Counter(count_latencies(np.array(one + other)))


def test_below_a_millisecond_and_before_the_epoch_of_the_clock_counts_as_one() -> None:
    assert count_latencies(np.array([-5, 0, 1])) == {0: 3}


def test_no_latencies() -> None:
    assert count_latencies(np.array([], dtype=np.int64)) == {}
    assert quantile({}, 0.5) is None
