"""The ledger: read = staged + duplicate + dead letter, or nothing is loaded."""

from __future__ import annotations

import pytest

from transforms.ledger import Count, DeadLetterFile, Door, Shard, Source, State, balance

Items = list[Source | Count | Shard | DeadLetterFile]


def run(read: int = 10, staged: int = 6, duplicate: int = 3, dead: int = 1) -> Items:
    return [
        Source("t", "a", 7, 1000),
        Count("t", "a", Door.READ, read),
        Shard("t", "t.parquet", (("a", staged),)),
        Count("t", "a", Door.DUPLICATE, duplicate),
        DeadLetterFile("l.parquet", (("t", "a", "wrong_type", dead),)),
    ]


def test_a_ledger_that_balances() -> None:
    result = balance(run(), 1.0)
    assert result.state is None
    line = result.counts["t"]["a"]
    assert (line.read, line.written, line.duplicate, line.dead_letter) == (10, 6, 3, 1)
    assert line.dead_letter_by_code == {"wrong_type": 1}
    assert (line.generation, line.size) == (7, 1000)
    assert [shard.uri for shard in result.shards["t"]] == ["t.parquet"]


def test_the_order_of_the_items_does_not_matter() -> None:
    assert balance(run()[::-1], 1.0) == balance(run(), 1.0)


@pytest.mark.parametrize(("staged", "difference"), [(5, 1), (7, -1)])
def test_a_row_lost_or_doubled_breaks_it(staged: int, difference: int) -> None:
    result = balance(run(staged=staged), 1.0)
    assert result.state is State.LEDGER_BROKEN
    assert result.broken == (("t", "a", difference),)
    assert f"t a: {difference:+d} records" in result.explain()


def test_what_is_lost_in_one_source_is_not_made_up_by_another() -> None:
    other: Items = [Count("t", "b", Door.READ, 1), Shard("t", "u.parquet", (("b", 2),))]
    result = balance([*run(staged=5), *other], 1.0)
    assert result.broken == (("t", "a", 1), ("t", "b", -1))


def test_a_source_without_records_is_a_line_of_zeros() -> None:
    result = balance([Source("t", "empty", 1, 0)], 0.2)
    assert result.state is None
    assert result.counts["t"]["empty"].read == 0


def test_copies_of_duplicates_are_no_dead_letters() -> None:
    result = balance([*run(), DeadLetterFile("d.parquet", (("t", "a", "duplicate", 3),))], 1.0)
    assert result.state is None
    assert result.counts["t"]["a"].dead_letter == 1


@pytest.mark.parametrize(
    ("read", "dead", "exceeded"), [(99, 99, False), (100, 20, False), (100, 21, True), (100, 100, True)]
)
def test_the_ratio_is_checked_from_100_records_on(read: int, dead: int, exceeded: bool) -> None:
    result = balance(run(read=read, staged=read - dead, duplicate=0, dead=dead), 0.2)
    assert (result.state is State.TOO_MANY_DEAD_LETTERS) is exceeded
    assert not exceeded or f"t: {dead} of {read}" in result.explain()


def test_the_ratio_is_a_tables_not_a_sources() -> None:
    bad = run(read=50, staged=0, duplicate=0, dead=50)
    rest: Items = [Count("t", "b", Door.READ, 950), Shard("t", "u.parquet", (("b", 950),))]
    assert balance([*bad, *rest], 0.2).state is None
