"""Kafka: the brokers, the topics, the consumer group and what is left to read. No offset is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kafka.admin import KafkaAdminClient
from kafka.errors import UnknownTopicOrPartitionError

from connectors.kafka.client import NoBroker, NoTopic, admin, partitions, refusals
from connectors.kafka.config import KafkaConfig, java_consumer
from connectors.kafka.group_offsets import GroupOffsets
from connectors.kafka.lag import lag
from connectors.kafka.offset_problems import recreated, removed_unread
from contracts.errors import ReportedError
from operations.doctor.findings import Finding, Mark

__all__ = ["Kafka", "read_config"]

OFFSETS_TOPIC = "__consumer_offsets"


def read_config(servers: str | None, file: str | None, group: str, read: Callable[[str], bytes]) -> KafkaConfig:
    """The configuration, if both halves of a job can be made from it: its secrets are there. Raises UsageError."""
    config = KafkaConfig.load(servers, file, read)
    java_consumer(config, group)
    config.settings()
    return config


@dataclass(frozen=True)
class Kafka:
    """What a stream needs of Kafka. `missing` is the severity of a topic that does not exist."""

    config: KafkaConfig
    topics: Sequence[str]
    group: str
    missing: Mark = Mark.WRONG

    def check(self) -> Iterator[Finding]:
        """Brokers, topics, group."""
        with admin(self.config) as client:
            with refusals(self.config):
                brokers = client.describe_cluster()["brokers"]
            yield Finding("kafka", Mark.OK, f"{len(brokers)} broker(s) at {self.config.bootstrap_servers}")
            known = []
            for topic in self.topics:
                finding = self._topic(client, topic)
                if finding.mark is Mark.OK:
                    known.append(topic)
                yield finding
            nobody = self._nobody_has_committed(client)
        if nobody:
            yield Finding(f"group {self.group}", Mark.OK, "new: no group has committed anything here yet")
            return
        yield from self._group(known)

    def _topic(self, client: KafkaAdminClient, topic: str) -> Finding:
        about = f"topic {topic}"
        try:
            count = partitions(client, self.config, [topic])[topic]
        except NoBroker:
            raise
        except NoTopic as error:
            return Finding(about, self.missing, str(error))
        except ReportedError as error:
            return Finding(about, Mark.WRONG, str(error), "give the user Describe and Read on the topic")
        return Finding(about, Mark.OK, f"{count} partitions")

    def _nobody_has_committed(self, client: KafkaAdminClient) -> bool:
        """Whether there are no groups at all yet: a broker that is asked for one makes a topic for them then."""
        with refusals(self.config):
            (topic,) = client.describe_topics([OFFSETS_TOPIC])
        return bool(topic["error_code"] == UnknownTopicOrPartitionError.errno)

    def _group(self, topics: Sequence[str]) -> Iterator[Finding]:
        about = f"group {self.group}"
        offsets = GroupOffsets(self.config, self.group)
        try:
            offsets.check(())
        except NoBroker:
            raise
        except ReportedError as error:
            yield Finding(about, Mark.WRONG, str(error), "another --group_id, or stop its members")
            return
        with refusals(self.config):
            try:
                sources = offsets.sources(topics)
                committed, beginnings = offsets.committed(sources), offsets.beginnings(sources)
                ends = offsets.ends(sources)
            finally:
                offsets.close()
        starts = {source: beginnings[source] if at is None else at for source, at in committed.items()}
        fit = True
        for source, at in starts.items():
            if problem := recreated(source, at, ends[source], self.group):
                yield Finding(about, Mark.WRONG, problem)
            elif lost := removed_unread(source, at, beginnings[source]):
                yield Finding(about, Mark.WRONG, lost, "--allow_lost_offsets goes on behind them")
            else:
                continue
            fit = False
        if all(at is None for at in committed.values()):
            yield Finding(about, Mark.OK, "new: --start_from says where it begins")
        elif fit:
            left = sum(lag(starts, ends).values())
            yield Finding(about, Mark.OK, f"no members, {left:,} offsets left to read")
