"""Which row of a primary key is written."""

from __future__ import annotations

from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decode import HASH, HASH_LOW, POSITION
from contracts.table import Column, Kind, Table, WriteDisposition
from transforms.coders import BucketPart, as_ipc
from transforms.decode import split_into_buckets
from transforms.deduplicate import (
    SOURCE,
    Fate,
    NothingKnown,
    bucket_rows,
    decide,
    in_order_of_precedence,
)

Item = tuple[int, int | None]
"""A row: its key and its version."""


def table(disposition: WriteDisposition, version_by: str | None = None) -> Table:
    columns = (Column("id", Kind.INTEGER, required=True), Column("v", Kind.INTEGER))
    return Table("t", columns, ("id",), disposition=disposition, version_by=version_by)


def frame(items: list[Item], begin: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "v": [version for _, version in items],
            POSITION: list(range(begin, begin + len(items))),
            HASH: [key - 2 for key, _ in items],
            HASH_LOW: [key // 2 for key, _ in items],
        },
        schema={"v": pl.Int64, POSITION: pl.Int64, HASH: pl.Int64, HASH_LOW: pl.Int64},
    )


class Held:
    """An index in memory: keys with the source and position of their winner."""

    def __init__(self, winners: dict[tuple[int, int], tuple[str, int]]) -> None:
        self._winners = winners

    def find(self, digests: pl.DataFrame) -> pl.DataFrame:
        found = [self._winners.get((high, low), (None, None)) for high, low in digests.iter_rows()]
        return pl.DataFrame(found, schema={SOURCE: pl.String, POSITION: pl.Int64}, orient="row")


def test_the_first_row_of_a_new_key_is_written() -> None:
    rows = frame([(1, 0), (2, 0), (1, 0)]).with_columns(pl.lit("s").alias(SOURCE))
    assert decide(rows, NothingKnown()).to_list() == [Fate.FIRST, Fate.FIRST, Fate.DUPLICATE]


def test_a_key_that_the_table_holds_is_a_duplicate_or_its_earlier_self() -> None:
    rows = frame([(1, 0), (2, 0), (2, 0), (3, 0)]).with_columns(pl.lit("s").alias(SOURCE))
    held = Held({(-1, 0): ("other", 0), (0, 1): ("s", 1)})
    assert decide(rows, held).to_list() == [Fate.DUPLICATE, Fate.SELF, Fate.DUPLICATE, Fate.FIRST]


def test_keys_with_one_half_of_the_digest_in_common_are_different() -> None:
    rows = pl.DataFrame({HASH: [1, 1, 2], HASH_LOW: [1, 2, 1], SOURCE: ["s"] * 3, POSITION: [0, 1, 2]})
    assert decide(rows, NothingKnown()).to_list() == [Fate.FIRST] * 3


def test_no_rows_have_no_fate() -> None:
    assert decide(frame([]).with_columns(pl.lit("s").alias(SOURCE)), NothingKnown()).to_list() == []


VERSIONS: list[Item] = [(1, 5), (1, 9), (1, 9), (1, None)]


@pytest.mark.parametrize(
    ("disposition", "version_by", "position"),
    [
        (WriteDisposition.APPEND, None, 0),
        (WriteDisposition.MERGE, None, 3),
        (WriteDisposition.REPLACE, None, 3),
        (WriteDisposition.APPEND, "v", 1),
        (WriteDisposition.MERGE, "v", 2),
    ],
)
def test_precedence(disposition: WriteDisposition, version_by: str | None, position: int) -> None:
    rows = in_order_of_precedence(frame(VERSIONS), table(disposition, version_by))
    assert rows[POSITION][0] == position


def written(parts: list[tuple[str, pl.DataFrame]], of: Table, buckets: int) -> set[tuple[str, int]]:
    """Source and position of each row that is written, by way of buckets."""
    by_bucket: dict[int, list[BucketPart]] = {}
    for source, rows in parts:
        for bucket, part in split_into_buckets(rows, buckets):
            by_bucket.setdefault(bucket, []).append((source, as_ipc(part)))
    found: set[tuple[str, int]] = set()
    for bucket_parts in by_bucket.values():
        rows = in_order_of_precedence(bucket_rows(bucket_parts), of)
        first = rows.filter(decide(rows, NothingKnown()) == Fate.FIRST)
        winners = set(first.select(SOURCE, POSITION).iter_rows())
        assert not winners & found
        found |= winners
    return found


ITEMS = st.lists(st.tuples(st.integers(-3, 6), st.none() | st.integers(0, 3)), max_size=20)


@given(
    files=st.dictionaries(st.sampled_from(["a", "b", "b_2"]), ITEMS, min_size=1),
    of=st.builds(table, st.sampled_from(WriteDisposition), st.sampled_from([None, "v"])),
    block=st.integers(1, 20),
    held=st.integers(1, 5),
    buckets=st.integers(1, 5),
    order=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_any_split_into_blocks_and_buckets_writes_the_same_rows(
    files: dict[str, list[Item]], of: Table, block: int, held: int, buckets: int, order: Random
) -> None:
    parts: list[tuple[str, pl.DataFrame]] = []
    for source, items in files.items():
        blocks = [frame(items[begin : begin + block], begin) for begin in range(0, len(items), block)]
        order.shuffle(blocks)
        parts += [(source, pl.concat(blocks[begin : begin + held])) for begin in range(0, len(blocks), held)]
    order.shuffle(parts)
    best: dict[int, tuple[tuple[int, int], tuple[str, int]]] = {}
    number = 0
    for source in sorted(files):
        for position, (key, version) in enumerate(files[source]):
            number += 1
            late = -number if of.disposition is WriteDisposition.APPEND else number
            rank = ((-1 if version is None else version) if of.version_by else 0, late)
            best[key] = max(best.get(key, (rank, (source, position))), (rank, (source, position)))
    assert written(parts, of, buckets) == {where for _, where in best.values()}
