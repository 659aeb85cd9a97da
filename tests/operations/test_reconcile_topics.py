"""A topic that has fewer records than were read: what the broker has removed is no contradiction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from kafka import TopicPartition

from connectors.kafka.config import KafkaConfig
from operations.reconcile.lines import OffsetSum
from operations.reconcile.topics import TopicRecount

PLACE = TopicPartition("clicks", 0)


class Record:
    """A record of Kafka, as far as it is counted."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Broker:
    """A partition with ten records, of which it removes the first `removed` while it is read."""

    def __init__(self, removed: int, policy: str, missing: Sequence[int] = ()) -> None:
        self.removed, self.policy, self.missing = removed, policy, missing
        self.at = 0

    def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self.removed)

    def describe_configs(self, *_: object, **__: object) -> dict[str, Any]:
        return {"TOPIC": {"clicks": {"cleanup.policy": {"value": self.policy}}}}

    def assign(self, places: list[TopicPartition]) -> None:
        assert places == [PLACE]

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.at = max(offset, self.removed)

    def position(self, _: TopicPartition) -> int:
        return self.at

    def poll(self, _: int) -> dict[TopicPartition, list[Record]]:
        offsets, self.at = range(self.at, 10), 10
        return {PLACE: [Record(offset) for offset in offsets if offset not in self.missing]}


@pytest.mark.parametrize(
    ("broker", "found", "left_out"),
    [
        (Broker(0, "delete"), [], ""),
        (Broker(3, "delete"), [], "the broker has just removed some of its records"),
        (Broker(0, "compact,delete", [4]), [], "the broker compacts the topic"),
        (Broker(0, "delete", [4]), [(10, 9)], ""),
    ],
)
def test_what_the_broker_has_removed_is_no_contradiction(
    broker: Broker, found: list[tuple[int, int]], left_out: str
) -> None:
    recount = TopicRecount(KafkaConfig("nowhere:9092"))
    client = cast(Any, broker)
    source = "kafka://clicks/0"
    findings = recount._compared(client, client, PLACE, source, OffsetSum("d.t", 10, 0, 0, 9), 10)
    assert [(finding.expected, finding.found) for finding in findings] == found
    assert recount.left_out.get(source, "") == left_out
