"""From which time each partition's horizon is counted back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from transforms.anchors import EVERYTHING, resolve
from transforms.offsets import Partition

NOW = datetime.fromisoformat("2026-11-26T12:00:00+00:00")
OLD = NOW - timedelta(days=3)


def never(offsets: Mapping[str, int]) -> Mapping[str, datetime]:
    raise AssertionError(f"the ledger is asked about {offsets}")


def nothing(offsets: Mapping[str, int]) -> Mapping[str, datetime]:
    return {}


def test_a_committed_anchor_counts_while_something_is_left_to_read() -> None:
    assert resolve({"a": 5, "b": 9}, {"a": 7, "b": 9}, {"a": OLD, "b": OLD}, never, NOW) == {"a": OLD, "b": NOW}


def test_no_anchor_is_in_the_future() -> None:
    ahead = NOW + timedelta(hours=25)
    assert resolve({"a": 5}, {"a": 7}, {"a": ahead}, never, NOW) == {"a": NOW}
    assert resolve({"a": 5}, {"a": 7}, {"a": None}, lambda _: {"a": ahead}, NOW) == {"a": NOW}


def test_an_offset_that_a_tool_has_set_goes_by_the_ledger() -> None:
    assert resolve({"a": 5, "b": 9}, {"a": 7, "b": 10}, {"a": None, "b": NOW}, lambda _: {"a": OLD}, NOW)["a"] == OLD


def test_a_partition_that_was_added_goes_by_the_oldest_of_the_others() -> None:
    anchors = {"a": OLD, "b": NOW, "new": None}
    assert resolve({"a": 5, "b": 9, "new": None}, {"a": 5, "b": 9, "new": 3}, anchors, nothing, NOW)["new"] == OLD


def test_a_new_group_must_know_everything() -> None:
    """Also if one of its partitions has nothing to read."""
    anchors = {"a": None, "b": None}
    assert resolve({"a": None, "b": 0}, {"a": 7, "b": 0}, anchors, nothing, NOW) == {"a": EVERYTHING, "b": NOW}


def test_the_anchor_stays_until_the_end_at_the_start_is_reached() -> None:
    partition = Partition.starting_at(10)
    partition.resume(end=100, anchor=1.0, now=50.0)
    partition.at = 99
    assert partition.anchored(horizon=30.0, now=60.0) == 1.0
    partition.at = 100
    assert partition.anchored(horizon=30.0, now=61.0) == 61.0
    partition.at = 120
    assert partition.anchored(horizon=30.0, now=62.0) == 62.0


def test_an_unknown_anchor_stays_unknown_while_a_partition_catches_up() -> None:
    partition = Partition.starting_at(10)
    partition.resume(end=100, anchor=None, now=50.0)
    partition.at = 99
    assert partition.anchored(horizon=30.0, now=60.0) is None


def test_the_anchor_moves_on_after_a_horizon_without_interruption() -> None:
    """What is read at a take stays bounded: a key is promised for a horizon of running time."""
    partition = Partition.starting_at(10)
    partition.resume(end=100, anchor=1.0, now=50.0)
    partition.at = 50
    assert partition.anchored(horizon=30.0, now=79.0) == 1.0
    assert partition.anchored(horizon=30.0, now=80.0) == 80.0
