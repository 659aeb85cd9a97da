"""The offsets of a consumer group, and those that the broker has for partitions.

Readers that assign partitions are no members of a group: nobody else commits for it. A commit never moves backwards.
The metadata of a commit is JSON with the partition's anchor, see transforms/anchors.py; a tool that sets an offset
leaves none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
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

from connectors.kafka.client import NoBroker, admin, consumer, partitions, refusals
from connectors.kafka.config import KafkaConfig
from connectors.kafka.partitions import topic_partition, uri
from connectors.retry import DeadlineExceeded, RetryPolicy
from contracts.errors import Conflict
from transforms.run_state import has_ended

__all__ = ["GroupOffsets"]

POLL_MILLISECONDS = 500
ANSWER_MILLISECONDS = 10_000
ONCE = RetryPolicy(deadline=0.0)
COORDINATOR = RetryPolicy(deadline=2 * ANSWER_MILLISECONDS / 1000, first_pause=1.0)
"""For a broker that is still creating or moving the coordinator of groups."""
NO_ANSWER = (KafkaError, OSError, NoBroker)
COORDINATOR_ERRORS = (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError)
Answer = TypeVar("Answer")


class GroupOffsets:
    """The offsets of one group, by source (kafka://topic/partition). It pickles, and connects on first use.

    If the broker does not answer, every method raises NoBroker, KafkaError or OSError, after `retry` has ended.
    """

    def __init__(self, config: KafkaConfig, group: str, retry: RetryPolicy = ONCE, token: str = "") -> None:
        """With `token`, calls are retried only while the run with that token lasts."""
        self._config = config
        self._retry = retry
        self._token = token
        self.group = group
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._client: KafkaConsumer | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_config": self._config, "group": self.group, "_retry": self._retry, "_token": self._token}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def config(self) -> KafkaConfig:
        """Where the broker is."""
        return self._config

    def retrying(self, retry: RetryPolicy, token: str) -> GroupOffsets:
        """Return the same offsets on a separate connection, retried by `retry` while the run with `token` lasts."""
        return GroupOffsets(self._config, self.group, retry, token)

    def _call(self, request: Callable[[KafkaConsumer], Answer]) -> Answer:
        """Return the result of `request`, retried on a new connection while the broker does not answer."""

        def once() -> Answer:
            try:
                with self._lock:
                    return request(self._consumer)
            except NO_ANSWER:
                self.close()
                raise

        what = f"Kafka at {self._config.bootstrap_servers} does not answer group {self.group}"
        try:
            return self._retry.call(what, once, self._is_retryable, wait_key=(self, threading.get_ident()))
        except DeadlineExceeded as error:
            raise error.__cause__ or error from None

    def _is_retryable(self, error: Exception) -> bool:
        return isinstance(error, NO_ANSWER) and not has_ended(self._token)

    @property
    def _consumer(self) -> KafkaConsumer:
        if self._client is None:
            self._client = consumer(self._config, self.group)
        return self._client

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def check(self, topics: Iterable[str]) -> None:
        """Raise NoTopic if a topic does not exist, Conflict if the group has members: they commit offsets, too."""
        client, wanted = admin(self._config), list(topics)
        try:
            if wanted:
                partitions(client, self._config, wanted)
            with refusals(self._config):
                members = _members(client, self.group)
        finally:
            client.close()
        if members:
            who = ", ".join(sorted({f"{one['client_id']!r} at {one['client_host']}" for one in members})[:3])
            raise Conflict(
                f"--group_id: group {self.group} has members that subscribe to topics ({who}); stop them, or give"
                " another name"
            )

    def sources(self, topics: Iterable[str]) -> list[str]:
        """Return the partitions that the topics have now."""

        def request(client: KafkaConsumer) -> list[str]:
            client.topics()  # refreshes what partitions_for_topic() has cached
            return sorted(uri(topic, number) for topic in topics for number in client.partitions_for_topic(topic))

        return self._call(request)

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        """Return the committed offset of each source, None if there is none."""
        wanted = list(sources)
        return self._call(
            lambda client: {
                source: client.committed(_partition(source), timeout_ms=ANSWER_MILLISECONDS) for source in wanted
            }
        )

    def anchors(self, sources: Iterable[str]) -> dict[str, datetime | None]:
        """Return the anchor that was committed with the offset of each source, None if there is none."""
        return {source: _anchor(stored) for source, stored in self._stored(sources).items()}

    def commit(self, offsets: Mapping[str, int], anchors: Mapping[str, datetime | None] | None = None) -> None:
        """Commit those of the offsets that are above the committed ones, with their anchors.

        A source without an anchor keeps the anchor that it has.
        """
        anchors = anchors or {}
        self._commit(
            {
                source: OffsetAndMetadata(offset, _metadata(anchors.get(source) or _anchor(before)), -1)
                for (source, before), offset in zip(self._stored(offsets).items(), offsets.values(), strict=True)
                if before is None or offset > before.offset
            }
        )

    def annotate(self, anchors: Mapping[str, datetime]) -> None:
        """Commit the committed offsets again, with these anchors. Sources without an offset are left out."""
        self._commit(
            {
                source: OffsetAndMetadata(stored.offset, _metadata(anchors[source]), -1)
                for source, stored in self._stored(anchors).items()
                if stored is not None
            }
        )

    def recommit_finished(self, sources: Iterable[str], anchor: datetime) -> None:
        """Commit the offsets of the sources that have nothing left to read again, with `anchor`.

        Kafka forgets the offset of a partition that nobody commits for a week (offsets.retention.minutes), although
        the group reads its other partitions. An old anchor would make the next start read more keys than it needs.
        """
        ends = self.ends(sources)
        self._commit(
            {
                source: OffsetAndMetadata(stored.offset, _metadata(anchor), -1)
                for source, stored in self._stored(ends).items()
                if stored is not None and stored.offset >= ends[source]
            }
        )

    def _stored(self, sources: Iterable[str]) -> dict[str, OffsetAndMetadata | None]:
        wanted = list(sources)

        def request(client: KafkaConsumer) -> dict[str, OffsetAndMetadata | None]:
            return {
                source: client.committed(_partition(source), metadata=True, timeout_ms=ANSWER_MILLISECONDS)
                for source in wanted
            }

        return self._call(request)

    def _commit(self, offsets: Mapping[str, OffsetAndMetadata]) -> None:
        if offsets:
            wanted = {_partition(source): offset for source, offset in offsets.items()}
            self._call(lambda client: client.commit(wanted, timeout_ms=ANSWER_MILLISECONDS))

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        """Return the first offset of each source that the broker still has."""
        wanted = list(map(_partition, sources))
        return self._call(lambda client: _by_source(client.beginning_offsets(wanted)))

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        """Return the end of what can be read of each source: its last stable offset."""
        wanted = list(map(_partition, sources))
        return self._call(lambda client: _by_source(client.end_offsets(wanted)))

    def at_times(self, sources: Iterable[str], milliseconds: int) -> dict[str, int | None]:
        """Return the offset of the first record of each source since a time, None if there is none.

        `milliseconds` count from 1970-01-01 UTC.
        """
        wanted = {_partition(source): milliseconds for source in sources}
        offsets = self._call(lambda client: client.offsets_for_times(wanted))
        return {uri(p.topic, p.partition): at.offset if at else None for p, at in offsets.items()}

    def nothing_to_read(self, source: str, offset: int, end: int) -> bool:
        """Return whether the offsets from `offset` to `end` hold only transaction markers and compacted records.

        False if the broker has removed records by retention or DeleteRecords: they may have been read, and wait in
        blocks that are not written yet. The broker's first offset is requested last, because it only grows: that
        covers all that was removed before the request for the next record.
        """
        return (
            offset < end
            and self.next_record(source, offset, end) >= end
            and self.beginnings([source])[source] <= offset
        )

    def next_record(self, source: str, offset: int, end: int | None = None) -> int:
        """Return the offset of the first record that a reader sees at or after `offset`.

        If there is none before `end`, returns the offset after the transaction markers and removed records there.
        Raises KafkaTimeoutError if the broker sends nothing.
        """
        partition = _partition(source)

        def request(client: KafkaConsumer) -> int:
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

        return self._call(request)


def _members(client: KafkaAdminClient, group: str) -> list[dict[str, object]]:
    """Return the members of the group, retried while the broker creates or moves the coordinator of groups."""
    try:
        return COORDINATOR.call(
            f"Kafka has no coordinator for group {group}",
            lambda: list(client.describe_groups([group])[group]["members"]),
            lambda error: isinstance(error, COORDINATOR_ERRORS),
        )
    except DeadlineExceeded as error:
        raise error.__cause__ or error from None


def _metadata(anchor: datetime | None) -> str:
    return json.dumps({"anchor": anchor.astimezone(UTC).isoformat()}) if anchor else ""


def _anchor(stored: OffsetAndMetadata | None) -> datetime | None:
    """Return the anchor in the metadata of a commit, None if the metadata is not ours."""
    try:
        anchor = datetime.fromisoformat(json.loads(stored.metadata)["anchor"]) if stored else None
    except (ValueError, TypeError, KeyError):
        return None
    return anchor if anchor is None or anchor.tzinfo else None


def _partition(source: str) -> TopicPartition:
    return TopicPartition(*topic_partition(source))


def _by_source(offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
    return {uri(partition.topic, partition.partition): int(offset) for partition, offset in offsets.items()}
