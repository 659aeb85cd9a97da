"""Latencies as counts by class, so that they add up: class k holds those from 2^(k/8) to 2^((k+1)/8) milliseconds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES_PER_DOUBLING", "count_latencies", "quantile", "upper_bound"]

CLASSES_PER_DOUBLING = 8


def count_latencies(milliseconds: npt.NDArray[np.int64]) -> dict[int, int]:
    """Counts by class of latencies, shape (n,); what is below a millisecond counts as one."""
    classes = np.floor(np.log2(np.maximum(milliseconds, 1)) * CLASSES_PER_DOUBLING).astype(np.int64)
    values, counts = np.unique(classes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The milliseconds that `share` of the latencies do not exceed, at most 9% too high; None if there are none."""
    wanted = share * sum(counts.values())
    passed = 0
    for latency_class in sorted(counts):
        passed += counts[latency_class]
        if passed >= wanted:
            return upper_bound(latency_class)
    return None


def upper_bound(latency_class: int) -> float:
    """The milliseconds that no latency of a class reaches."""
    return float(2 ** ((latency_class + 1) / CLASSES_PER_DOUBLING))
