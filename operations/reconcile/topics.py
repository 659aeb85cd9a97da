"""Count the records of topics again, and compare them with what the ledger says that was read."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import OFFSETS
from connectors.kafka.client import admin, clients_closed, cluster_id, consumer, partitions, refusals, topic_ids
from connectors.kafka.config import KafkaConfig
from connectors.kafka.partitions import topic_partition
from contracts.errors import Unavailable
from operations.reconcile.findings import Code, Finding
from operations.reconcile.lines import Line, OffsetSum, offset_sums

__all__ = ["TopicRecount"]

POLL_MS = 1000
GIVE_UP_SECONDS = 60.0


@dataclass
class TopicRecount:
    """What was counted: partitions that were read again, by table, and why others were not."""

    config: KafkaConfig
    read: int = 0
    records: int = 0
    waiting: int = 0
    """Records behind the last line: nobody has read them yet, or the group was set back."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Partitions that were not read again, and why."""

    def findings(
        self, lines: Iterable[Line], warehouse: Warehouse, operations_dataset: str, since: datetime
    ) -> Iterator[Finding]:
        """Yield the partitions that hold another number of records than the lines about them say.

        The broker removes old records, so only the lines count whose records it still has. Raises as
        `connectors.kafka.client.refusals` does.
        """
        places = sorted({(line.table, line.dataset or "", line.source) for line in lines if line.kind == OFFSETS})
        with clients_closed():
            client, reader = admin(self.config), consumer(self.config)
            cluster = cluster_id(client, self.config)
            ids, known = self._existing(client, {source for _, _, source in places})
            with refusals(self.config):
                firsts, ends = reader.beginning_offsets(list(known.values())), reader.end_offsets(list(known.values()))
            of_sources = {source: firsts[place] for source, place in known.items()}
            sums = offset_sums(warehouse, operations_dataset, since, of_sources)
            for table, dataset, source in places:
                place = known.get(source)
                if place is None:
                    self.left_out[source] = "the topic is gone"
                    continue
                its = sums.get((table, dataset, source, cluster, ids[place.topic]))
                if its is None:
                    self.left_out[source] = "the broker has none of its records any more, or the topic is another one"
                elif its.shared:
                    self.left_out[source] = "parts of its lines were read again"
                else:
                    yield from self._compared(client, reader, place, source, its, ends[place])

    def _compared(
        self,
        client: KafkaAdminClient,
        reader: KafkaConsumer,
        place: TopicPartition,
        source: str,
        its: OffsetSum,
        end: int,
    ) -> Iterator[Finding]:
        self.waiting += max(0, end - its.last_offset - 1)
        found = self._count(reader, place, its.first_offset, min(its.last_offset, end - 1))
        if found < its.read and (why := self._why_fewer(client, reader, place, its.first_offset)):
            self.left_out[source] = why
            return
        self.read, self.records = self.read + 1, self.records + found
        if found != its.read:
            yield Finding(Code.TOPIC_DIFFERS, its.name, source, "", abs(found - its.read), its.read, found)

    def _existing(
        self, client: KafkaAdminClient, sources: Collection[str]
    ) -> tuple[Mapping[str, str], dict[str, TopicPartition]]:
        """Return the id of each topic that exists, and the sources that are partitions of one."""
        places = {source: TopicPartition(*topic_partition(source)) for source in sorted(sources)}
        with refusals(self.config):
            topics = sorted({place.topic for place in places.values()} & set(client.list_topics()))
        if not topics:
            return {}, {}
        counts = partitions(client, self.config, topics)
        known = {source: place for source, place in places.items() if place.partition < counts.get(place.topic, 0)}
        return topic_ids(client, self.config, topics), known

    def _why_fewer(self, client: KafkaAdminClient, reader: KafkaConsumer, place: TopicPartition, first: int) -> str:
        """Return why the broker has fewer records than were read, if it has removed some; else ""."""
        with refusals(self.config):
            if reader.beginning_offsets([place])[place] > first:
                return "the broker has just removed some of its records"
            found = client.describe_configs([ConfigResource("TOPIC", place.topic)], config_filter="all")
        policies = (of_topic[place.topic]["cleanup.policy"]["value"] for of_topic in found.values())
        return "the broker compacts the topic" if any("compact" in policy for policy in policies) else ""

    def _count(self, client: KafkaConsumer, place: TopicPartition, first: int, last: int) -> int:
        """Return the records from `first` to `last` that a reader sees. Raises Unavailable if none come any more."""
        count, give_up = 0, time.monotonic() + GIVE_UP_SECONDS
        with refusals(self.config):
            client.assign([place])
            client.seek(place, first)
            while client.position(place) <= last:
                records = client.poll(POLL_MS).get(place, [])
                count += sum(record.offset <= last for record in records)
                if records:
                    give_up = time.monotonic() + GIVE_UP_SECONDS
                elif time.monotonic() > give_up:
                    raise Unavailable(f"Kafka at {self.config.bootstrap_servers} returns no record of {place.topic}")
        return count
