"""Which row of a primary key is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.decoder import HASH_LOW
from contracts.lineage import HASH, POSITION, SOURCE
from contracts.table import Column, Kind, Table, WriteDisposition
from transforms.coders import BucketPart, as_ipc, from_ipc
from transforms.decode import split_into_buckets
from transforms.deduplicate import (
    CONTENT,
    Comparison,
    NothingKnown,
    Outcome,
    bucket_rows,
    compare,
    contents_of,
    decide,
    in_order_of_precedence,
)
from transforms.key_index import KeyIndex

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
        result = [(*self._winners.get((high, low), (None, None)), 0) for high, low in digests.iter_rows()]
        schema = {SOURCE: pl.String, POSITION: pl.Int64, CONTENT: pl.UInt16}
        return pl.DataFrame(result, schema=schema, orient="row")


def test_the_first_row_of_a_new_key_is_written() -> None:
    rows = frame([(1, 0), (2, 0), (1, 0)]).with_columns(pl.lit("s").alias(SOURCE))
    assert decide(rows, NothingKnown()).to_list() == [Outcome.FIRST, Outcome.FIRST, Outcome.DUPLICATE]


def test_a_key_that_the_table_holds_is_a_duplicate_or_its_earlier_self() -> None:
    rows = frame([(1, 0), (2, 0), (2, 0), (3, 0)]).with_columns(pl.lit("s").alias(SOURCE))
    held = Held({(-1, 0): ("other", 0), (0, 1): ("s", 1)})
    assert decide(rows, held).to_list() == [Outcome.DUPLICATE, Outcome.REDELIVERED, Outcome.DUPLICATE, Outcome.FIRST]


def test_keys_with_one_half_of_the_digest_in_common_are_different() -> None:
    rows = pl.DataFrame({HASH: [1, 1, 2], HASH_LOW: [1, 2, 1], SOURCE: ["s"] * 3, POSITION: [0, 1, 2]})
    assert decide(rows, NothingKnown()).to_list() == [Outcome.FIRST] * 3


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
    result: set[tuple[str, int]] = set()
    for bucket_parts in by_bucket.values():
        rows = in_order_of_precedence(bucket_rows(bucket_parts), of)
        first = rows.filter(decide(rows, NothingKnown()) == Outcome.FIRST)
        winners = set(first.select(SOURCE, POSITION).iter_rows())
        assert not winners & result
        result |= winners
    return result


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


SAID: dict[str, list[Any]] = {
    "text": ["a", "", "é", None],
    "number": [0, 1, -(2**63), None],
    "float": [0.5, -1.0, 1e300, None],
    "numeric": [Decimal("1.10"), Decimal("-2"), Decimal(0), None],
    "flag": [True, False, None, None],
    "day": [date(2026, 1, 1), date(1, 1, 1), None, None],
    "list": [["x", "y"], ["xy"], [], None],
    "object": [{"a": 1, "b": ["q"]}, {"a": 1, "b": []}, {"a": None, "b": None}, None],
    "objects": [[{"a": 1, "b": ["q"]}], [{"a": 2, "b": None}] * 2, [], None],
    "at": [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), None, None],
}
"""Values of each kind of column; all of a column differ but the last two, which are null in some."""
TYPES = {
    "numeric": pl.Decimal(38, 9),
    "object": pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}),
    "objects": pl.List(pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)})),
    "at": pl.Datetime("us", "UTC"),
}


@pytest.mark.parametrize("column", SAID)
def test_rows_that_say_the_same_have_the_same_content_and_others_another(column: str) -> None:
    whole = pl.DataFrame({"id": [1] * 4, column: pl.Series(SAID[column], dtype=TYPES.get(column), strict=True)})
    contents = contents_of(whole, whole.columns).to_list()
    assert len(set(contents)) == len({repr(value) for value in SAID[column]})
    assert min(contents) > 0
    in_pieces = pl.concat([whole[3:].clone(), from_ipc(as_ipc(whole[:2])), whole[2:3]])
    assert contents_of(in_pieces, whole.columns).to_list() == [contents[3], *contents[:3]]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=30), st.integers(0, 30), st.booleans())
def test_a_duplicate_is_compared_with_the_row_that_was_written(
    rows: list[tuple[int, int]], block: int, restarted: bool
) -> None:
    """Rows of a key and what they say, in two blocks; between them the index may be read back from the table."""
    now, index, written = datetime(2026, 1, 1, tzinfo=UTC), KeyIndex(timedelta(hours=1)), dict[int, int]()
    unknown: set[int] = set()
    for start, part in ((0, rows[:block]), (block, rows[block:])):
        frame = pl.DataFrame(
            {
                HASH: [key for key, _ in part],
                HASH_LOW: [0] * len(part),
                SOURCE: ["s"] * len(part),
                POSITION: range(start, start + len(part)),
                CONTENT: [said for _, said in part],
            },
            schema={HASH: pl.Int64, HASH_LOW: pl.Int64, SOURCE: pl.String, POSITION: pl.Int64, CONTENT: pl.UInt16},
        )
        fates = decide(frame, index)
        index.add(frame.filter(fates == Outcome.FIRST), now)
        expected = []
        for key, said in part:
            first = written.setdefault(key, said)
            expected.append(Comparison.UNKNOWN if key in unknown else first != said)
        result = compare(frame, fates, index).to_list()
        assert not any(n for n, fate in zip(result, fates, strict=True) if fate != Outcome.DUPLICATE)
        assert result == [n if fate == Outcome.DUPLICATE else 0 for n, fate in zip(expected, fates, strict=True)]
        if restarted:
            known = frame.filter(fates == Outcome.FIRST).drop(CONTENT)
            index = KeyIndex(timedelta(hours=1))
            index.restore(known, pl.Series([now] * len(known), dtype=pl.Datetime("us", "UTC")), now)
            unknown = set(written)


def test_sources_stand_in_natural_order() -> None:
    rows = frame([(1, 0)])
    parts = [(name, as_ipc(rows)) for name in ("t_10.csv", "t_1.csv", "t_9.csv")]
    assert bucket_rows(parts)[SOURCE].to_list() == ["t_1.csv", "t_9.csv", "t_10.csv"]
