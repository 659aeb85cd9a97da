"""Rows that were appended together are separated again by source."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from connectors.bigquery.append_reply import Rejected
from connectors.sinks.bucket_writer import Appended
from contracts.refusal import ErrorCode
from transforms.deduplicate import Outcome


def reason(number: int) -> Rejected:
    """Why a row is refused."""
    return Rejected(ErrorCode.WAREHOUSE_REJECTED, f"row {number}")


FATE = st.sampled_from([fate.value for fate in Outcome])


@given(st.lists(st.lists(st.tuples(FATE, st.booleans()), min_size=1, max_size=4), min_size=1, max_size=4))
def test_parts_have_the_fates_and_refusals_of_their_rows(parts: list[list[tuple[int, bool]]]) -> None:
    rows = [row for part in parts for row in part]
    refused = {number: reason(number) for number, (_, bad) in enumerate(rows) if bad}
    compared = pl.Series([number % 3 for number in range(len(rows))], dtype=pl.Int8)
    whole = Appended(
        pl.Series([fate for fate, _ in rows], dtype=pl.Int8), refused, datetime(2026, 1, 1, tzinfo=UTC), compared
    )
    start = 0
    for part in parts:
        result = whole.part(start, len(part))
        assert result.outcomes.to_list() == [fate for fate, _ in part]
        assert result.refused == {number: reason(start + number) for number, (_, bad) in enumerate(part) if bad}
        assert result.written_at == whole.written_at
        assert result.compared.to_list() == [(start + number) % 3 for number in range(len(part))]
        start += len(part)
