"""A consumer group's offsets, and what the broker says of partitions. Readers that assign partitions are no members
of a group, so the group's offsets are ours alone to write; a commit never moves one backwards."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from connectors.kafka_source import topic_partition, uri
from contracts.errors import Misuse

__all__ = ["GroupOffsets", "PartitionAtBroker"]

POLL_MILLISECONDS = 500
ANSWER_MILLISECONDS = 30_000


class GroupOffsets:
    """The offsets of one group, by source (kafka://topic/partition). It pickles, and connects on first use."""

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._servers = bootstrap_servers
        self.group = group
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._client: KafkaConsumer | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_servers": self._servers, "group": self.group}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def _consumer(self) -> KafkaConsumer:
        if self._client is None:
            self._client = KafkaConsumer(
                bootstrap_servers=self._servers, group_id=self.group, enable_auto_commit=False,
                isolation_level="read_committed", auto_offset_reset="none", fetch_max_wait_ms=100,
            )  # fmt: skip
        return self._client

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def check(self, topics: Iterable[str]) -> None:
        """Misuse where a topic is unknown, or where the group has members: their commits and ours would mix."""
        with self._lock:
            known = self._consumer.topics()
        for topic in topics:
            if topic not in known:
                raise Misuse(f"--topic: Kafka has no topic {topic}; make it with launcher.py produce --create_topics")
        with KafkaAdminClient(bootstrap_servers=self._servers) as admin:
            described = admin.describe_groups([self.group])[self.group]
        if described["members"]:
            raise Misuse(f"--group_id: group {self.group} has members that subscribe to topics; take another name")

    def sources(self, topics: Iterable[str]) -> list[str]:
        """The partitions that the topics have now."""
        with self._lock:
            self._consumer.topics()  # asks the broker: partitions_for_topic() answers from memory
            return sorted(
                uri(topic, partition) for topic in topics for partition in self._consumer.partitions_for_topic(topic)
            )

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        """The committed offset of each source, None where there is none."""
        with self._lock:
            return {
                source: self._consumer.committed(_partition(source), timeout_ms=ANSWER_MILLISECONDS)
                for source in sources
            }

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Commit the offsets that are past what is committed."""
        with self._lock:
            before = self.committed(offsets)
            forward = {source: offset for source, offset in offsets.items() if offset > (before[source] or -1)}
            if forward:
                self._consumer.commit(
                    {_partition(source): OffsetAndMetadata(offset, "", -1) for source, offset in forward.items()},
                    timeout_ms=ANSWER_MILLISECONDS,
                )

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        """The first offset that the broker still has of each source."""
        with self._lock:
            return _by_source(self._consumer.beginning_offsets(list(map(_partition, sources))))

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        """The offset up to which each source can be read: the last stable one."""
        with self._lock:
            return _by_source(self._consumer.end_offsets(list(map(_partition, sources))))

    def at_times(self, sources: Iterable[str], milliseconds: int) -> dict[str, int | None]:
        """The offset of each source's first record from a time on, None where there is none."""
        with self._lock:
            found = self._consumer.offsets_for_times({_partition(source): milliseconds for source in sources})
            return {uri(p.topic, p.partition): at.offset if at else None for p, at in found.items()}

    def next_record(self, source: str, offset: int, end: int | None = None) -> int:
        """The offset of the first record that a reader sees at or after `offset`.

        Where there is none, the offset behind the marks and removed records that lie there, at least `end` if given.
        KafkaTimeoutError if the broker gives nothing.
        """
        partition = _partition(source)
        with self._lock:
            self._consumer.assign([partition])
            self._consumer.seek(partition, offset)
            for _ in range(ANSWER_MILLISECONDS // POLL_MILLISECONDS):
                records = self._consumer.poll(POLL_MILLISECONDS, max_records=1).get(partition)
                if records:
                    return int(records[0].offset)
                position = self._consumer.position(partition, timeout_ms=ANSWER_MILLISECONDS)
                if end is not None and position >= end:
                    return int(position)
            raise KafkaTimeoutError(f"no answer about offset {offset} of {source}")


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


def _partition(source: str) -> TopicPartition:
    return TopicPartition(*topic_partition(source))


def _by_source(offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
    return {uri(partition.topic, partition.partition): int(offset) for partition, offset in offsets.items()}
