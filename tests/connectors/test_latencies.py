"""Latencies of records whose producers set the timestamps."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.sinks.append_outcome import latencies
from transforms.latency import quantile

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT = int(NOW.timestamp() * 1000)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, -(2**62), AT, AT - 5])))
def test_a_timestamp_that_is_none_or_in_the_future_is_no_latency(timestamps: list[int]) -> None:
    result = latencies(np.array(timestamps, dtype=np.int64), NOW)
    assert sum(result.values()) == sum(timestamp > 0 for timestamp in timestamps)
    slowest = max([AT - timestamp for timestamp in timestamps if timestamp > 0], default=None)
    if slowest is None:
        assert quantile(result, 1.0) is None
    else:
        assert max(slowest, 1) < (quantile(result, 1.0) or 0) <= max(slowest, 1) * 1.1
