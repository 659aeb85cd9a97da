"""The index of a stream's keys against a dict that knows when each key was entered."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.decoding.decoder import HASH_LOW
from contracts.lineage import HASH, POSITION, SOURCE
from transforms.deduplicate import CONTENT
from transforms.key_index import GENERATIONS, SMALLEST, KeyIndex

Digest = tuple[int, int]
Winner = tuple[str, int, int]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
HORIZON = timedelta(seconds=40)
PART = HORIZON / GENERATIONS
EDGES = [-(2**63), -1, 0, 1, SMALLEST - 1, SMALLEST, 2**63 - 1]
DIGESTS = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES))
WINNERS = st.tuples(
    st.sampled_from(["kafka://a/0", "kafka://a/1", "gs://lake/file"]), st.integers(0, 2**40), st.integers(0, 2**16 - 1)
)
KEYS = st.dictionaries(DIGESTS, WINNERS, max_size=20)


def frame(keys: dict[Digest, Winner]) -> pl.DataFrame:
    rows = [(*digest, *winner) for digest, winner in keys.items()]
    schema = {HASH: pl.Int64, HASH_LOW: pl.Int64, SOURCE: pl.String, POSITION: pl.Int64, CONTENT: pl.UInt16}
    return pl.DataFrame(rows, schema=schema, orient="row")


def winners_of(index: KeyIndex, digests: list[Digest]) -> dict[Digest, Winner]:
    """The keys that the index holds, of those asked for."""
    wanted = pl.DataFrame(digests, schema={HASH: pl.Int64, HASH_LOW: pl.Int64}, orient="row")
    answer = index.find(wanted)
    assert answer.schema == {SOURCE: pl.String, POSITION: pl.Int64, CONTENT: pl.UInt16}
    assert len(answer) == len(digests)
    return {d: (s, p, c) for d, (s, p, c) in zip(digests, answer.iter_rows(), strict=True) if p is not None}


ALL = [(high, low) for high in EDGES for low in EDGES]


@pytest.mark.slow
@given(st.lists(st.tuples(KEYS, st.integers(0, 30))))
def test_keys_are_known_for_the_horizon_and_at_most_a_part_of_it_more(
    steps: list[tuple[dict[Digest, Winner], int]],
) -> None:
    index, now = KeyIndex(HORIZON), BEGIN
    entered: dict[Digest, tuple[Winner, datetime]] = {}
    forgotten: dict[str, int] = {}
    for keys, seconds in steps:
        known = winners_of(index, ALL)
        new = {digest: winner for digest, winner in keys.items() if digest not in known}
        index.add(frame(new), now)
        entered |= {digest: (winner, now) for digest, winner in new.items()}
        after = winners_of(index, ALL)
        for digest, (winner, at) in list(entered.items()):
            if digest in after:
                assert after[digest] == winner
                assert now - at <= HORIZON + PART
            else:
                assert now - at > HORIZON
                forgotten[winner[0]] = max(winner[1], forgotten.get(winner[0], 0))
                del entered[digest]
        assert after.keys() == entered.keys()
        assert len(index) == len(entered)
        assert index.forgotten == forgotten
        now += timedelta(seconds=seconds)


@given(st.dictionaries(DIGESTS, st.tuples(WINNERS, st.integers(0, 100)), max_size=20), st.integers(0, 200))
def test_restored_keys_age_from_the_newest_of_them(keys: dict[Digest, tuple[Winner, int]], seconds: int) -> None:
    index, restart = KeyIndex(HORIZON), BEGIN + timedelta(days=3)
    newest = max((age for _, age in keys.values()), default=0)
    written = pl.Series([BEGIN + timedelta(seconds=s) for _, s in keys.values()], dtype=pl.Datetime("us", "UTC"))
    index.restore(frame({digest: winner for digest, (winner, _) in keys.items()}), written, restart)
    assert winners_of(index, ALL) == {digest: winner for digest, (winner, _) in keys.items()}
    now = restart + timedelta(seconds=seconds)
    index.add(frame({}), now)
    after = winners_of(index, ALL)
    for digest, (winner, at) in keys.items():
        age = timedelta(seconds=newest - at)
        age = (age if age < HORIZON else timedelta(0)) + (now - restart)  # from before the horizon: like the newest
        if age <= HORIZON:
            assert after[digest] == winner
        if age > HORIZON + PART:
            assert digest not in after


def test_it_grows() -> None:
    index = KeyIndex(HORIZON)
    model: dict[Digest, Winner] = {}
    random = np.random.default_rng(7)
    for block in range(40):
        digests = random.integers(-(2**63), 2**63 - 1, (block * 60 + 1, 2), dtype=np.int64)
        keys = {(int(high), int(low)): (f"s{block % 3}", n, n % 9) for n, (high, low) in enumerate(digests)}
        index.add(frame(keys), BEGIN)
        model |= keys
    assert winners_of(index, list(model)) == model
    assert winners_of(index, [(high, low ^ 1) for high, low in model]) == {}


def test_a_key_takes_at_most_64_bytes() -> None:
    digests = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, (100_000, 2), dtype=np.int64)
    rows = pl.DataFrame({HASH: digests[:, 0], HASH_LOW: digests[:, 1]}).with_columns(
        pl.lit("kafka://a/0").alias(SOURCE), pl.int_range(len(digests)).alias(POSITION)
    )
    index = KeyIndex(HORIZON)
    index.add(rows[:1], BEGIN)  # what is made once, whatever the number of keys
    tracemalloc.start()
    for start in range(1, len(rows), 500):
        index.add(rows[start : start + 500], BEGIN)
        if start > 20_000:
            assert index.nbytes <= 64 * len(index)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= 64 * len(index)


def test_what_a_row_says_is_unknown_where_nobody_says_it() -> None:
    index = KeyIndex(HORIZON)
    index.add(frame({(1, 1): ("s", 4, 9)}).drop(CONTENT), BEGIN)
    assert winners_of(index, [(1, 1), (1, 2)]) == {(1, 1): ("s", 4, 0)}
