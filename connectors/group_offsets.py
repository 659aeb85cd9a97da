"""A consumer group's offsets, and what the broker says of partitions. Readers that assign partitions are no members
of a group, so the group's offsets are ours alone to write; a commit never moves one backwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    KafkaTimeoutError,
    NotCoordinatorError,
)

from connectors.kafka_client import NoBroker, admin, consumer, partitions, refusals
from connectors.kafka_config import KafkaConfig
from connectors.kafka_source import topic_partition, uri
from contracts.errors import Misuse

__all__ = ["GroupOffsets", "PartitionAtBroker", "made_anew", "removed_unread"]

POLL_MILLISECONDS = 500
ANSWER_MILLISECONDS = 10_000
PAUSE_SECONDS = 1.0
Answer = TypeVar("Answer")


class GroupOffsets:
    """The offsets of one group, by source (kafka://topic/partition). It pickles, and connects on first use."""

    def __init__(self, config: KafkaConfig, group: str, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: how long a broker that is away is waited for."""
        self._config = config
        self._patience = patience_seconds
        self.group = group
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._client: KafkaConsumer | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_config": self._config, "group": self.group, "_patience": self._patience}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    def patient(self, seconds: float) -> GroupOffsets:
        """The same, with another patience and a connection of its own."""
        return GroupOffsets(self._config, self.group, seconds)

    def _ask(self, question: Callable[[KafkaConsumer], Answer]) -> Answer:
        """The answer, asked again while the broker is away."""
        give_up = time.monotonic() + self._patience
        while True:
            try:
                with self._lock:
                    return question(self._consumer)
            except (KafkaError, OSError, NoBroker):
                self.close()
                if time.monotonic() > give_up:
                    raise
            time.sleep(PAUSE_SECONDS)

    @property
    def _consumer(self) -> KafkaConsumer:
        if self._client is None:
            self._client = consumer(self._config, self.group)
        return self._client

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def check(self, topics: Iterable[str]) -> None:
        """Misuse where a topic is unknown, or where the group has members: their commits and ours would mix."""
        client, wanted = admin(self._config), list(topics)
        try:
            if wanted:
                partitions(client, self._config, wanted)
            with refusals(self._config):
                members = _members(client, self.group)
        finally:
            client.close()
        if members:
            raise Misuse(f"--group_id: group {self.group} has members that subscribe to topics; take another name")

    def sources(self, topics: Iterable[str]) -> list[str]:
        """The partitions that the topics have now."""

        def question(client: KafkaConsumer) -> list[str]:
            client.topics()  # asks the broker: partitions_for_topic() answers from memory
            return sorted(uri(topic, number) for topic in topics for number in client.partitions_for_topic(topic))

        return self._ask(question)

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        """The committed offset of each source, None where there is none."""
        wanted = list(sources)
        return self._ask(
            lambda client: {
                source: client.committed(_partition(source), timeout_ms=ANSWER_MILLISECONDS) for source in wanted
            }
        )

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Commit the offsets that are past what is committed."""
        before = self.committed(offsets)
        forward = {
            _partition(source): OffsetAndMetadata(offset, "", -1)
            for source, offset in offsets.items()
            if offset > (-1 if before[source] is None else before[source] or 0)
        }
        if forward:
            self._ask(lambda client: client.commit(forward, timeout_ms=ANSWER_MILLISECONDS))

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        """The first offset that the broker still has of each source."""
        wanted = list(map(_partition, sources))
        return self._ask(lambda client: _by_source(client.beginning_offsets(wanted)))

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        """The offset up to which each source can be read: the last stable one."""
        wanted = list(map(_partition, sources))
        return self._ask(lambda client: _by_source(client.end_offsets(wanted)))

    def at_times(self, sources: Iterable[str], milliseconds: int) -> dict[str, int | None]:
        """The offset of each source's first record from a time on, None where there is none."""
        wanted = {_partition(source): milliseconds for source in sources}
        found = self._ask(lambda client: client.offsets_for_times(wanted))
        return {uri(p.topic, p.partition): at.offset if at else None for p, at in found.items()}

    def next_record(self, source: str, offset: int, end: int | None = None) -> int:
        """The offset of the first record that a reader sees at or after `offset`.

        Where there is none before `end`, the offset behind the marks and removed records that lie there.
        KafkaTimeoutError if the broker gives nothing.
        """
        partition = _partition(source)

        def question(client: KafkaConsumer) -> int:
            client.assign([partition])
            client.seek(partition, offset)
            for _ in range(ANSWER_MILLISECONDS // POLL_MILLISECONDS):
                records = client.poll(POLL_MILLISECONDS, max_records=1).get(partition)
                if records:
                    return int(records[0].offset)
                position = client.position(partition, timeout_ms=ANSWER_MILLISECONDS)
                if end is not None and position >= end:
                    return int(position)
            raise KafkaTimeoutError(f"no answer about offset {offset} of {source}")

        return self._ask(question)


@dataclass(frozen=True)
class PartitionAtBroker:
    """offsets.Broker of one source."""

    offsets: GroupOffsets
    source: str

    def beginning(self) -> int:
        """The first offset that it still has."""
        return self.offsets.beginnings([self.source])[self.source]

    def next_record(self, offset: int) -> int:
        """The offset of the first record that a reader sees at or after `offset`."""
        return self.offsets.next_record(self.source, offset)


def made_anew(source: str, committed: int, end: int, group: str) -> str | None:
    """What is the matter where a group is past the end of a source, None where it is not."""
    if committed <= end:
        return None
    return (
        f"{source} ends at offset {end}, group {group} has committed {committed}: the topic was made anew; give another"
        " --group_id, or delete the group"
    )


def removed_unread(source: str, committed: int, beginning: int) -> str | None:
    """What is the matter where a source no longer has what a group would read next, None where it has."""
    if committed >= beginning:
        return None
    return f"{source}: offsets {committed} to {beginning - 1} were removed by the broker before they were read"


def _members(client: KafkaAdminClient, group: str) -> list[object]:
    """The group's members, asked again while the broker makes or moves what coordinates groups."""
    give_up = time.monotonic() + 2 * ANSWER_MILLISECONDS / 1000
    while True:
        try:
            return list(client.describe_groups([group])[group]["members"])
        except (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError):
            if time.monotonic() > give_up:
                raise
        time.sleep(PAUSE_SECONDS)


def _partition(source: str) -> TopicPartition:
    return TopicPartition(*topic_partition(source))


def _by_source(offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
    return {uri(partition.topic, partition.partition): int(offset) for partition, offset in offsets.items()}
