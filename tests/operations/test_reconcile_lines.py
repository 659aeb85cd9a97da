"""The parts of a range of offsets that no lost range covers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operations.reconcile.lines import _without

OFFSETS = st.integers(0, 30)


@given(gap=st.tuples(OFFSETS, OFFSETS).map(sorted), lost=st.lists(st.tuples(OFFSETS, OFFSETS).map(sorted), max_size=6))
def test_what_is_left_is_what_no_range_covers(gap: list[int], lost: list[list[int]]) -> None:
    ranges = [{"first": first, "last": last} for first, last in sorted(lost)]
    left = list(_without({"first": gap[0], "last": gap[1]}, ranges))
    offsets = [offset for part in left for offset in range(part["first"], part["last"] + 1)]
    covered = {offset for first, last in lost for offset in range(first, last + 1)}
    assert offsets == [offset for offset in range(gap[0], gap[1] + 1) if offset not in covered]
    assert all(part["first"] <= part["last"] for part in left)
