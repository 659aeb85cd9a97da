"""What is compared with the records of files: which of them, in which order, and when two values are the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.schemas import EXTRA
from contracts.table import Column, Kind
from operations.reconcile.sample import PRIME, Sample
from operations.reconcile.stored import Ordered
from operations.reconcile.values import is_same

SEEDS = st.integers(0, PRIME - 1)


@given(seed=SEEDS, width=st.integers(1, 5_000), size=st.integers(1, 2_000), records=st.integers(1_000, 20_000))
def test_a_sample_has_about_the_size_whatever_the_size_of_a_record(
    seed: int, width: int, size: int, records: int
) -> None:
    sample = Sample.of(size, records, seed)
    chosen = int(sample.chosen(np.arange(records, dtype=np.int64) * width).sum())
    if size >= records:
        assert sample.is_all
        assert chosen == records
    else:
        assert abs(chosen - size) <= 0.2 * size + 10 * math.sqrt(size) + 10


@given(seed=SEEDS, positions=st.lists(st.integers(0, 1 << 50)), below=st.integers(1, PRIME))
def test_python_and_sql_choose_the_same(seed: int, positions: list[int], below: int) -> None:
    sample = Sample(below, seed)
    sql = sample.condition("p").replace("MOD", "divmod").replace(f", {PRIME})", f", {PRIME})[1]")
    by_sql = [sql == "TRUE" or eval(sql, {"p": position}) for position in positions]
    assert sample.chosen(np.array(positions, dtype=np.int64)).tolist() == by_sql


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=20).map(sorted)


@given(rows=ROWS, ends=st.lists(st.integers(0, 9), max_size=4).map(sorted))
def test_all_rows_of_the_sources_asked_for_are_taken_in_order(rows: list[tuple[str, int]], ends: list[int]) -> None:
    ordered = Ordered({"_source": source, "_position": position} for source, position in rows)
    taken: list[tuple[str, int]] = []
    for source in "ac":
        for end in [*ends, None]:
            its = [(row["_source"], row["_position"]) for row in ordered.until(source, end)]
            assert end is None or all(position <= end for _, position in its)
            taken += its
    assert taken == [row for row in rows if row[0] != "b"]


BOX = Column("box", Kind.RECORD, fields=(Column("n", Kind.INTEGER), Column("j", Kind.JSON)))


@pytest.mark.parametrize(
    ("column", "expected", "found", "same"),
    [
        (Column("s", Kind.STRING), "a", "a", True),
        (Column("s", Kind.STRING), "", None, False),
        (Column("s", Kind.STRING), None, None, True),
        (Column("j", Kind.JSON), '{"a": 1.0}', {"a": 1}, True),
        (Column("j", Kind.JSON), '"1"', "1", True),
        (Column("j", Kind.JSON), "1", "1", False),
        (Column("j", Kind.JSON), "null", None, False),
        (EXTRA, '{"a": 1}', {"a": 2}, False),
        (Column("l", Kind.INTEGER, repeated=True), None, [], True),
        (Column("l", Kind.INTEGER, repeated=True), [1, 2], [2, 1], False),
        (Column("l", Kind.INTEGER, repeated=True), [1, 2], [1], False),
        (BOX, {"n": 1, "j": "[1]"}, {"n": 1, "j": "[1]", "older": 5}, True),
        (BOX, {"n": 1, "j": "[1]"}, {"n": 1, "j": "[2]"}, False),
        (BOX, {"n": None, "j": None}, None, False),
    ],
)
def test_when_values_are_the_same(column: Column, expected: Any, found: Any, same: bool) -> None:
    assert is_same(column, expected, found) is same
