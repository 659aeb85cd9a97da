"""How far back a restarted stream knows keys: by what Kafka and the ledger hold of its group, with the real ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.specs import spec_of
from connectors.kafka.client import admin, create_topics
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from connectors.retry import RetryPolicy
from connectors.sinks.bucket_writer import BucketWriter
from contracts.bookkeeping import LEDGER
from local.service import PROJECT
from local.services import Endpoints
from pipelines.stream.progress import GroupProgress, Upkeep
from tests.e2e.bucket_writers import DUPLICATE, FIRST, append, events_spec, owner
from tests.graphs.streams import RUN
from transforms.anchors import EVERYTHING

pytestmark = pytest.mark.e2e
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=3)
"""Before a long downtime."""
B = "kafka://t/1"


class Group:
    """A topic of three partitions, of which the first two have five records, and a group that reads it."""

    def __init__(self, name: str, servers: str) -> None:
        self.name, self.servers = name, servers
        self.config = KafkaConfig(servers)
        self.sources = [f"kafka://{name}/{partition}" for partition in range(3)]
        with admin(self.config) as client:
            create_topics(client, self.config, {name: 3})
        self.offsets = GroupOffsets(self.config, name)
        self.warehouse = Warehouse(PROJECT, "US")
        ensure_operations(self.warehouse, name)
        self.progress = GroupProgress(self.offsets, (name,), LedgerTable(self.warehouse, name), lambda: NOW)

    def send(self, *partitions: int) -> None:
        """Send five records to each of the partitions."""
        producer = KafkaProducer(bootstrap_servers=self.servers)
        for partition in partitions:
            for number in range(5):
                producer.send(self.name, b"%d" % number, partition=partition)
        producer.flush()
        producer.close()

    def line(self, partition: int, first: int, last: int, at: datetime) -> None:
        """Let the ledger have a line."""
        line = {"run_id": "r", "pipeline": "stream", "kind": "offsets", "table": "events", "recorded_at": at}
        line |= {"source": self.sources[partition], "first_offset": first, "last_offset": last}
        self.warehouse.append([line], spec_of(LEDGER, self.name))


@pytest.fixture
def group(kafka_cloud: tuple[Path, Endpoints], servers: str, request: pytest.FixtureRequest) -> Group:
    group = Group(request.node.name, servers)
    group.send(0, 1)
    return group


def test_an_anchor_is_committed_with_its_offset_and_kept_by_commits_without_one(group: Group) -> None:
    first, second, _ = group.sources
    group.offsets.commit({first: 2, second: 5}, {first: OLD, second: OLD})
    assert group.progress().anchor == OLD
    group.offsets.commit({first: 3})
    group.offsets.commit({first: 1}, {first: NOW})  # never backwards
    assert group.offsets.anchors([first]) == {first: OLD}
    assert group.progress().offsets == dict(zip(group.sources, (3, 5, 0), strict=True))
    group.offsets.annotate({first: NOW})
    assert group.offsets.committed([first]) == {first: 3}
    assert group.offsets.anchors(group.sources) == dict(zip(group.sources, (NOW, OLD, None), strict=True))


def test_a_group_that_has_read_all_knows_a_horizon_from_now(group: Group) -> None:
    group.offsets.commit(dict(zip(group.sources, (5, 5, 0), strict=True)), dict.fromkeys(group.sources, OLD))
    assert group.progress().anchor == NOW
    group.send(1)
    assert group.progress().anchor == OLD


def test_an_offset_that_a_tool_has_set_goes_back_to_its_ledger_line(group: Group) -> None:
    first, second, _ = group.sources
    group.line(0, 0, 2, OLD)
    group.line(0, 3, 4, NOW - timedelta(hours=1))
    group.line(1, 0, 4, NOW)
    group.offsets.commit({first: 5, second: 5}, {first: NOW, second: NOW})
    tool = KafkaConsumer(bootstrap_servers=group.servers, group_id=group.name, enable_auto_commit=False)
    tool.commit({TopicPartition(group.name, 0): OffsetAndMetadata(2, "", -1)})
    tool.close()
    assert group.progress().anchor == OLD
    assert group.progress().offsets[first] == 2


def test_offsets_of_idle_partitions_are_committed_again(group: Group) -> None:
    """Kafka would forget them after a week, and a start after a month would read the keys of a month."""
    first, second, third = group.sources
    group.offsets.commit({first: 5, second: 3}, {first: OLD, second: OLD})
    run, ledger = replace(RUN, token=group.name), LedgerTable(group.warehouse, group.name)
    Upkeep(group.offsets, (group.name,), ledger, run, lambda: NOW)()
    assert group.offsets.anchors(group.sources) == {first: NOW, second: OLD, third: None}
    assert group.offsets.committed(group.sources) == {first: 5, second: 3, third: None}


def test_a_new_group_knows_every_key(group: Group) -> None:
    assert group.progress().anchor == EVERYTHING


@dataclass
class Table:
    """A table of one bucket, and the clock and the anchor of its owners."""

    warehouse: Warehouse
    dataset: str
    now: datetime
    anchor: datetime

    def writer(self) -> BucketWriter:
        """A process that starts: a new owner."""
        return owner(
            self.warehouse,
            self.dataset,
            "run",
            RetryPolicy(20, 5),
            timedelta(seconds=30),
            dict,
            anchor=lambda: self.anchor,
            clock=lambda: self.now,
        )


@pytest.fixture
def table(kafka_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> Table:
    warehouse, dataset = Warehouse(PROJECT, "US"), request.node.name
    ensure_operations(warehouse, dataset)
    warehouse.ensure_table(events_spec(dataset))
    return Table(warehouse, dataset, OLD, OLD)


def test_a_second_kill_while_the_stream_catches_up_forgets_nothing(table: Table) -> None:
    assert append(table.writer(), {1: "r"}) == [FIRST]
    table.now = NOW  # a downtime longer than the horizon; the anchor stays until the partition has caught up
    assert append(table.writer(), {2: "n"}) == [FIRST]
    assert append(table.writer(), {3: "r", 4: "n"}, B) == [DUPLICATE, DUPLICATE]


def test_rows_from_the_future_hide_no_key(table: Table) -> None:
    """A worker with a wrong clock in a version before, or a batch."""
    assert append(table.writer(), {1: "r"}) == [FIRST]
    table.now = OLD + timedelta(hours=25)
    assert append(table.writer(), {2: "n"}) == [FIRST]
    table.now = OLD + timedelta(seconds=1)
    writer = table.writer()
    assert append(writer, {3: "r", 4: "n"}, B) == [DUPLICATE, DUPLICATE]
    table.now += timedelta(seconds=20)
    assert append(writer, {5: "m"}) == [FIRST]
    assert append(writer, {6: "r", 7: "n"}, B) == [DUPLICATE, DUPLICATE]
