"""What is appended at once is told apart again."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from connectors.lanes import Appended
from transforms.deduplicate import Fate

FATE = st.sampled_from([fate.value for fate in Fate])


@given(st.lists(st.lists(st.tuples(FATE, st.booleans()), min_size=1, max_size=4), min_size=1, max_size=4))
def test_parts_have_the_fates_and_refusals_of_their_rows(parts: list[list[tuple[int, bool]]]) -> None:
    rows = [row for part in parts for row in part]
    refused = {number: f"row {number}" for number, (_, bad) in enumerate(rows) if bad}
    whole = Appended(pl.Series([fate for fate, _ in rows], dtype=pl.Int8), refused, datetime(2026, 1, 1, tzinfo=UTC))
    start = 0
    for part in parts:
        found = whole.part(start, len(part))
        assert found.fates.to_list() == [fate for fate, _ in part]
        assert found.refused == {number: f"row {start + number}" for number, (_, bad) in enumerate(part) if bad}
        assert found.written_at == whole.written_at
        start += len(part)
