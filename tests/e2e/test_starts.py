"""Where a stream begins in each partition, with a real broker and the local BigQuery: nothing is skipped or doubled."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition

from connectors.bigquery.clock import BigQueryClock
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
from contracts.errors import UsageError
from local.service import PROJECT
from local.services import Endpoints
from pipelines.runs.settings import Beginning
from pipelines.stream.progress import GroupProgress
from pipelines.stream.starts import FirstOffsets
from tests.e2e.bucket_writers import DUPLICATE, FIRST, REDELIVERED, append, events_spec, owner

pytestmark = pytest.mark.e2e
HORIZON = timedelta(minutes=10)


@dataclass
class Start:
    """A topic, a group that may have read some of it, and starts of a stream that go by both."""

    name: str
    servers: str
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = KafkaConfig(self.servers)
        self.offsets = GroupOffsets(self.config, self.name)
        self.warehouse = Warehouse(PROJECT, "US")
        self.now = BigQueryClock.of(self.warehouse).now()
        ensure_operations(self.warehouse, self.name)
        self.ledger = LedgerTable(self.warehouse, self.name)

    @property
    def sources(self) -> list[str]:
        return self.offsets.sources([self.name])

    def partitions(self, count: int) -> None:
        """Create the topic, or add partitions to it."""
        with admin(self.config) as client:
            if not create_topics(client, self.config, {self.name: count}):
                client.create_partitions({self.name: count})

    def send(self, *partitions: int) -> None:
        """Send five records to each of the partitions."""
        producer = KafkaProducer(bootstrap_servers=self.servers)
        for partition in partitions:
            for number in range(5):
                producer.send(self.name, b"%d" % number, partition=partition)
        producer.flush()
        producer.close()

    def line(self, partition: int, first: int, last: int, at: datetime, written: int = 5) -> None:
        """Let the ledger have a line."""
        line: dict[str, Any] = {"run_id": "r", "pipeline": "stream", "kind": "offsets", "table": "events"}
        line |= {"recorded_at": at, "written": written}
        line |= {"source": f"kafka://{self.name}/{partition}", "first_offset": first, "last_offset": last}
        self.warehouse.append([line], spec_of(LEDGER, self.name))

    def forget(self, *partitions: int) -> None:
        """Let Kafka forget offsets, as it does when they expire."""
        with admin(self.config) as client:
            client.delete_group_offsets(self.name, [TopicPartition(self.name, number) for number in partitions])

    def start(self, beginning: Beginning = Beginning.LATEST, group_is_known: bool = False) -> list[int | None]:
        """Where a start begins in each partition."""
        first = FirstOffsets(
            offsets=self.offsets,
            ledger=self.ledger,
            beginning=beginning,
            group_is_known=group_is_known,
            horizon=HORIZON,
            lost=lambda *_: None,
            allow_lost=False,
        )
        first.commit(self.sources, self.now, self.logged.append)
        return list(self.offsets.committed(self.sources).values())


@pytest.fixture
def stream(kafka_cloud: tuple[Path, Endpoints], servers: str, request: pytest.FixtureRequest) -> Start:
    stream = Start(request.node.name, servers)
    stream.partitions(1)
    stream.send(0)
    return stream


def test_a_new_group_begins_where_it_is_told(stream: Start) -> None:
    assert stream.start() == [5]


def test_a_partition_that_was_added_while_the_stream_was_down_begins_at_its_beginning(stream: Start) -> None:
    assert stream.start() == [5]
    stream.partitions(2)
    stream.send(0, 1)
    assert stream.start() == [5, 0]
    assert stream.logged == [f"group {stream.name} has no offset of kafka://{stream.name}/1: it is read from offset 0"]


def test_a_partition_whose_offset_kafka_forgot_begins_at_its_beginning(stream: Start) -> None:
    stream.partitions(2)
    stream.send(1)
    assert stream.start() == [5, 5]
    stream.forget(1)
    stream.send(1)
    assert stream.start() == [5, 0]


def test_a_group_that_kafka_forgot_as_a_whole_is_no_new_one(stream: Start) -> None:
    """It has been down for a week; the table of leases knows its name, and the ledger what it has read."""
    stream.line(0, 0, 2, stream.now)
    assert stream.start(group_is_known=True) == [0]


def test_the_name_of_a_group_that_read_nothing_is_a_new_one(stream: Start) -> None:
    assert stream.start(group_is_known=True) == [5]


def test_a_partial_reset_doubles_nothing(stream: Start) -> None:
    """The records of the second partition repeat those of the first, from before the horizon."""
    stream.partitions(2)
    stream.send(1)
    stream.warehouse.ensure_table(events_spec(stream.name))
    busy, idle = stream.sources
    now = stream.now - timedelta(days=3)

    def writer() -> BucketWriter:
        """A process that starts."""
        progress = GroupProgress(stream.offsets, (stream.name,), stream.ledger, lambda: stream.now)
        return owner(
            stream.warehouse,
            stream.name,
            "run",
            RetryPolicy(20, 5),
            HORIZON,
            lambda: progress().offsets,
            anchor=lambda: progress().anchor,
            clock=lambda: now,
        )

    assert stream.start(Beginning.EARLIEST) == [0, 0]
    first = writer()
    assert append(first, {0: "a", 1: "b"}, busy) == [FIRST, FIRST]
    assert append(first, {0: "a", 1: "b"}, idle) == [DUPLICATE, DUPLICATE]
    for partition in (0, 1):
        stream.line(partition, 0, 1, now)
    now = stream.now
    assert append(first, {2: "c"}, busy) == [FIRST]
    stream.line(0, 2, 4, now)
    stream.offsets.commit({busy: 5, idle: 2}, {busy: now, idle: now})
    stream.forget(1)
    assert stream.start(Beginning.EARLIEST) == [5, 0]
    second = writer()
    assert append(second, {0: "a", 1: "b"}, idle) == [DUPLICATE, DUPLICATE]
    assert append(second, {0: "a", 2: "c"}, busy) == [REDELIVERED, REDELIVERED]


def test_a_reset_that_needs_too_many_keys_is_refused(stream: Start) -> None:
    stream.start(Beginning.EARLIEST)
    stream.line(0, 0, 4, stream.now - timedelta(days=300), written=150_000_000)
    stream.line(0, 5, 9, stream.now - timedelta(days=200), written=150_000_000)
    stream.forget(0)
    with pytest.raises(UsageError, match=r"300,000,000 keys .* --to-datetime"):
        stream.start(Beginning.EARLIEST)
    assert stream.offsets.committed(stream.sources) == {stream.sources[0]: None}
