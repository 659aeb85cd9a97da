"""Which offsets are safe, against a partition whose records and blocks are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count, pairwise
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.offsets import ASK_AGAIN_SECONDS, LOST_AFTER_SECONDS, Ack, Line, Partition, Stamp, run_of, runs_of
from transforms.tally import Tally

SOURCE = "kafka://t/0"
BLOCKS = count()
DOORS = ("written", "duplicate", "malformed_json")


@dataclass
class Log:
    """A broker's partition: the offsets that hold records a reader sees; all below `first` are removed."""

    records: list[int]
    first: int = 0
    asked: list[int] = field(default_factory=list)

    def beginning(self) -> int:
        return self.first

    def next_record(self, offset: int) -> int:
        self.asked.append(offset)
        return min(record for record in self.records if record >= max(offset, self.first))


def acks_of(offsets: list[int], random: Random, name: bytes = b"") -> list[Ack]:
    """A block of these records, split at random into parts; a record's number tells by which door it leaves."""
    runs = runs_of(np.array(offsets, dtype=np.int64))
    parts = list(range(-1, random.randint(0, 3)))
    stamp = Stamp(name or b"%d" % next(BLOCKS), "t", SOURCE, runs, tuple(parts))
    split: dict[int, list[int]] = {part: [] for part in parts}
    for offset in offsets:
        split[random.choice(parts)].append(offset)
    return [
        Ack(stamp, part, tuple(tally_of([o for o in held if a <= o <= b]) for a, b in runs))
        for part, held in split.items()
    ]


def tally_of(offsets: list[int]) -> Tally:
    doors = Counter(DOORS[offset % 3] for offset in offsets)
    codes = {"malformed_json": doors["malformed_json"]} if doors["malformed_json"] else {}
    return Tally(written=doors["written"], duplicate=doors["duplicate"], dead_letter_by_code=codes)


def blocks_of(records: list[int], random: Random) -> list[list[int]]:
    """The records in blocks: mostly neighbours, as bundles hold them, some of them swapped with another block."""
    blocks: list[list[int]] = []
    rest = list(records)
    while rest:
        size = random.randint(1, 6)
        blocks.append(rest[:size])
        rest = rest[size:]
    for _ in range(random.randint(0, len(blocks))):
        one, other = random.choice(blocks), random.choice(blocks)
        if one is not other:
            a, b = random.randrange(len(one)), random.randrange(len(other))
            one[a], other[b] = other[b], one[a]
    return [sorted(block) for block in blocks]


def stored(partition: Partition) -> Partition:
    """Once through the state of an engine."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(partition), type=Partition)


LOGS = st.lists(st.integers(1, 4), min_size=1, max_size=40).map(lambda gaps: np.cumsum(gaps).tolist())
RANDOMS = st.randoms(use_true_random=False)


@given(LOGS, st.integers(0, 10), RANDOMS)
def test_blocks_in_any_order_and_parts(records: list[int], start: int, random: Random) -> None:
    records = [record for record in records if record >= start]
    partition, log = Partition.starting_at(start), Log(records)
    waiting = [ack for block in blocks_of(records, random) for ack in acks_of(block, random)]
    random.shuffle(waiting)
    committed, lines = start, []
    while waiting:
        partition.acknowledge(waiting.pop())
        if random.random() < 0.5:
            continue
        partition.advance(log, 0.0)
        open_offsets = [first for ack in waiting for first, _ in ack.stamp.runs]
        assert partition.at <= min(open_offsets, default=partition.at)
        if line := partition.line(committed):
            lines.append(line)
            committed = line.last + 1
        partition = stored(partition)
    partition.advance(log, 0.0)
    if line := partition.line(committed):
        lines.append(line)
    assert_lines(lines, records, start)
    assert partition.lost == []
    assert not partition.open
    assert not partition.done
    assert partition.line(0) is None


def assert_lines(lines: list[Line], records: list[int], start: int) -> None:
    """They touch, and each record is in exactly one, by its door."""
    for line in lines:
        assert line.first == start
        assert line.last >= line.first
        start = line.last + 1
        held = [record for record in records if line.first <= record <= line.last]
        want = tally_of(held)
        want.read = len(held)
        assert line.tally == want
        assert line.tally.difference == 0
    assert start == max(records, default=start - 1) + 1


@given(LOGS, RANDOMS)
def test_an_engine_that_recovers_an_older_state(records: list[int], random: Random) -> None:
    """What came after the state comes again, in other blocks; what the group has committed meanwhile stays so."""
    partition, log = Partition.starting_at(0), Log(records)
    blocks = [acks_of(block, random) for block in blocks_of(records, random)]
    waiting = [ack for acks in blocks for ack in acks]
    random.shuffle(waiting)
    checkpoint, crash = sorted(random.randint(0, len(waiting)) for _ in range(2))
    committed, lines = 0, []

    def step(ack: Ack) -> None:
        nonlocal committed
        partition.acknowledge(ack)
        partition.advance(log, 0.0)
        line = partition.line(committed)
        if line:
            assert line.last >= committed  # nothing is written about what is committed already, alone
            lines.append(line)
            committed = line.last + 1

    for ack in waiting[:checkpoint]:
        step(ack)
    state = msgspec.msgpack.encode(partition)
    for ack in waiting[checkpoint:crash]:
        step(ack)
    partition = msgspec.msgpack.decode(state, type=Partition)
    seen = {ack.stamp.block for ack in waiting[:checkpoint]}
    again = [ack for ack in waiting[checkpoint:] if ack.stamp.block in seen]
    unseen = sorted(
        record
        for acks in blocks
        if acks[0].stamp.block not in seen
        for first, last in acks[0].stamp.runs
        for record in range(first, last + 1)
    )
    again += [ack for block in blocks_of(unseen, random) for ack in acks_of(block, random)]
    random.shuffle(again)
    for ack in again:
        step(ack)
    current: list[Line] = []  # as ledger_current has it: a later line takes the place of all that it reaches
    for line in lines:
        current = [*(other for other in current if other.last < line.first), line]
    assert_lines(current, records, 0)
    assert committed == max(records) + 1


def done(partition: Partition, *offsets: int) -> None:
    for ack in acks_of(list(offsets), Random(0), b"%d" % offsets[0]):
        partition.acknowledge(ack)


def test_a_hole_is_closed_only_where_the_broker_has_no_record() -> None:
    partition, log = Partition.starting_at(0), Log([2, 3, 7])
    done(partition, 7)
    partition.advance(log, 0.0)
    assert partition.at == 0
    asked = len(log.asked)
    partition.advance(log, 1.0)
    assert len(log.asked) == asked  # what is on its way is not asked for again
    done(partition, 2, 3)
    partition.advance(log, 2.0)
    assert (partition.at, partition.lost) == (8, [])


def test_a_record_that_is_compacted_away_before_it_is_read_is_a_hole() -> None:
    partition, log = Partition.starting_at(0), Log([0, 4])
    done(partition, 4)
    partition.advance(log, 0.0)
    assert partition.at == 0
    log.records = [4]
    partition.advance(log, ASK_AGAIN_SECONDS + 1)
    assert (partition.at, partition.lost) == (5, [])


def test_what_was_removed_unread_is_lost_once_nothing_can_fill_the_gap() -> None:
    partition, log = Partition.starting_at(0), Log([0, 1, 2, 3, 4, 5], first=3)
    done(partition, 4, 5)
    partition.advance(log, 0.0)
    partition.advance(log, LOST_AFTER_SECONDS - 1)
    assert (partition.at, partition.lost) == (0, [])
    partition = stored(partition)
    partition.advance(log, LOST_AFTER_SECONDS + 1)
    assert (partition.at, partition.lost) == (3, [(0, 2)])
    done(partition, 3)
    partition.advance(log, LOST_AFTER_SECONDS + 2)
    assert partition.at == 6
    line = partition.line(0)
    assert line is not None
    assert (line.first, line.last, line.tally.read) == (0, 5, 3)


def test_what_is_removed_while_its_block_is_waited_for_is_lost() -> None:
    """A reader that is slower than the broker's retention skips offsets that it had listed."""
    partition, log = Partition.starting_at(0), Log([0, 1, 2, 3])
    done(partition, 3)
    partition.advance(log, 0.0)
    log.first = 2
    partition.advance(log, 1000.0)
    assert partition.lost == []  # noticed now: what was read before may still come
    partition.advance(log, 1001.0 + LOST_AFTER_SECONDS)
    assert (partition.at, partition.lost) == (2, [(0, 1)])


def test_a_gap_that_is_filled_in_time_is_not_lost() -> None:
    partition, log = Partition.starting_at(0), Log([0, 1, 2, 3], first=2)
    done(partition, 2, 3)
    partition.advance(log, 0.0)
    done(partition, 0, 1)
    partition.advance(log, LOST_AFTER_SECONDS + 1)
    assert (partition.at, partition.lost) == (4, [])


def test_a_block_that_comes_after_part_of_it_was_given_up() -> None:
    partition, log = Partition.starting_at(0), Log([0, 1, 2, 3, 4, 5], first=3)
    done(partition, 5)
    partition.advance(log, 0.0)
    partition.advance(log, LOST_AFTER_SECONDS + 1)
    done(partition, 1, 2, 3, 4)
    done(partition, 0)
    partition.advance(log, LOST_AFTER_SECONDS + 2)
    assert partition.at == 6
    assert not partition.done


def test_a_part_that_comes_twice_counts_once() -> None:
    partition = Partition.starting_at(0)
    stamp = Stamp(b"x", "t", SOURCE, ((0, 1),), (0, 1))
    for part in (0, 0, 1, 0):
        partition.acknowledge(Ack(stamp, part, (Tally(written=1),)))
    partition.advance(Log([0, 1]), 0.0)
    assert partition.line(0) == Line(0, 1, Tally(read=2, written=2))


@given(st.sets(st.integers(-50, 50), min_size=1))
def test_runs(offsets: set[int]) -> None:
    runs = runs_of(np.array(sorted(offsets), dtype=np.int64))
    assert [n for first, last in runs for n in range(first, last + 1)] == sorted(offsets)
    assert all(after[0] > before[1] + 1 for before, after in pairwise(runs))
    inside = run_of(np.array(sorted(offsets), dtype=np.int64), runs)
    assert all(runs[at][0] <= offset <= runs[at][1] for offset, at in zip(sorted(offsets), inside, strict=True))


NUMBER = st.integers(0, 9)
TALLIES = st.builds(
    Tally,
    NUMBER,
    NUMBER,
    NUMBER,
    st.dictionaries(st.sampled_from("ab"), st.integers(1, 9)),
    duplicate_differs=NUMBER,
    duplicate_unknown=NUMBER,
)


@given(st.lists(TALLIES))
def test_tallies_add_up(tallies: list[Tally]) -> None:
    total = Tally()
    for tally in tallies:
        before = msgspec.msgpack.encode(tally)
        total.add(tally)
        assert msgspec.msgpack.encode(tally) == before
    assert total.read == sum(tally.read for tally in tallies)
    assert total.dead_letter == sum(tally.dead_letter for tally in tallies)
    assert total.difference == sum(tally.difference for tally in tallies)
    assert total.duplicate_differs == sum(tally.duplicate_differs for tally in tallies)
    assert total.duplicate_unknown == sum(tally.duplicate_unknown for tally in tallies)
    assert Tally() == Tally(0, 0, 0, {}, {})


def test_nothing_is_asked_of_the_broker_while_blocks_come_in_order() -> None:
    partition = Partition.starting_at(0)

    class Silent:
        def beginning(self) -> int:
            pytest.fail("asked")

        def next_record(self, offset: int) -> int:
            pytest.fail("asked")

    for offset in range(0, 30, 3):
        done(partition, offset, offset + 1, offset + 2)
        partition.advance(Silent(), 0.0)
    assert partition.at == 30
