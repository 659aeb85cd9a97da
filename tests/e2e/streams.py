"""Events whose fate is known by construction, streams over them that can be killed, and what must hold in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError

from connectors.bigquery.warehouse import Warehouse
from local.services import Endpoints
from tests import launching
from tests.engines import expansion_options
from tests.launching import Launched
from tests.waiting import wait_until

__all__ = ["Feed", "StreamSite", "StreamStart"]

ROOT = Path(__file__).parents[2]
EVER = datetime(1970, 1, 1, tzinfo=UTC)
DEFECTS: tuple[tuple[bytes | None, str], ...] = (
    (None, "malformed_json"),
    (b"", "malformed_json"),
    (b"\0\0\0\0\x07{}", "malformed_json"),
    (b"{", "malformed_json"),
    (b'{"event_id": "\xff"}', "invalid_encoding"),
    (b"[1]", "malformed_json"),
    (b'{"event_id": "x"}', "missing_required"),
)


@dataclass
class Feed:
    """Sends events to a topic, and knows what must become of them."""

    servers: str
    topic: str
    partitions: int = 4
    dirty: float = 0.02
    """Share of defects; there are twice as many duplicates."""
    seed: int = 1
    clean: set[str] = field(default_factory=set)
    refused: dict[tuple[str, int], str] = field(default_factory=dict)
    """Code by source and offset."""
    sent: int = 0
    rate: float | None = None
    """Events a second, None for as fast as it goes; may be changed while it sends."""
    settings: dict[str, str] = field(default_factory=dict)
    """Of the topic that is made."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        client = KafkaAdminClient(bootstrap_servers=self.servers)
        topic = {"num_partitions": self.partitions, "replication_factor": 1, "configs": self.settings}
        try:
            client.create_topics({self.topic: topic})
        except TopicAlreadyExistsError:
            pass
        finally:
            client.close()

    def send(self, events: int, transaction: str | None = None) -> None:
        """Send records and wait until the broker has them; with `transaction`, its name, in one transaction."""
        with self._producer(transaction) as producer:
            for key, value, code in self.records(events):
                future = producer.send(self.topic, value, key=key)
                if code:
                    future.add_callback(self._note, code)
                if self.rate:
                    time.sleep(1 / self.rate)
            producer.flush()
            if transaction:
                producer.commit_transaction()

    def send_aborted(self, events: int, transaction: str) -> None:
        """Send records in a transaction that is aborted: nobody may see them."""
        with self._producer(transaction) as producer:
            for number in range(events):
                producer.send(self.topic, b'{"event_id": "aborted"}', key=b"aborted-%d" % number)
            producer.flush()
            producer.abort_transaction()

    @contextmanager
    def _producer(self, transaction: str | None) -> Iterator[KafkaProducer]:
        settings = {"transactional_id": transaction} if transaction else {}
        producer = KafkaProducer(
            bootstrap_servers=self.servers, acks="all", linger_ms=20, batch_size=1 << 17, **settings
        )
        try:
            if transaction:
                producer.init_transactions()
                producer.begin_transaction()
            yield producer
        finally:
            producer.close()

    def visible(self) -> int:
        """Records that a reader of the topic sees now."""
        consumer = KafkaConsumer(bootstrap_servers=self.servers, isolation_level="read_committed")
        try:
            partitions = [TopicPartition(self.topic, number) for number in consumer.partitions_for_topic(self.topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found = 0
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                found += sum(map(len, consumer.poll(200).values()))
            return found
        finally:
            consumer.close()

    @contextmanager
    def sending(self, events: int) -> Iterator[threading.Thread]:
        """Send in the background while the block lasts, the rest as fast as it goes at its end."""
        thread = threading.Thread(target=self.send, args=(events,), name="feed")
        thread.start()
        try:
            yield thread
        finally:
            self.rate = None
            thread.join()

    @property
    def duplicates(self) -> int:
        """Records that repeat an event."""
        return self.sent - len(self.clean) - len(self.refused)

    def _note(self, code: str, metadata: Any) -> None:
        self.refused[f"kafka://{metadata.topic}/{metadata.partition}", metadata.offset] = code

    def records(self, events: int) -> Iterator[tuple[bytes, bytes | None, str | None]]:
        """Add this many records: key, value, and the code of one that must be refused. They count as sent."""
        for number in range(self.sent, self.sent + events):
            self.sent += 1
            if self._random.random() < self.dirty:
                value, code = self._random.choice(DEFECTS)
                yield b"defect-%d" % number, value, code
                continue
            known = number
            if self.clean and self._random.random() < 2 * self.dirty:
                known = self._random.randrange(max(0, number - 2000), number)
            identity = f"{self.topic}-{known:09d}"
            self.clean.add(identity)
            event = {
                "event_id": identity,
                "customer_id": f"c{known % 97}",
                "event_type": "page_view",
                "event_timestamp": "2026-03-01T12:34:56.789Z",
                "page_url": f"https://shop.example/p/{known % 50}",
            }
            yield identity.encode(), json.dumps(event).encode(), None


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f+00:00}'"


@dataclass
class StreamStart:
    """One start of a stream in a process group of its own."""

    process: Launched | subprocess.Popen[str]
    summary: Path
    began: datetime
    said: str = ""
    """What it printed, once it has ended."""

    def kill(self) -> None:
        """Send SIGKILL to the whole process group, if it still runs."""
        if isinstance(self.process, Launched):
            self.process.kill_group()
        elif self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()

    def finish(self, seconds: float = 180, code: int = 0) -> dict[str, Any]:
        """Wait for its end; the summary."""
        self.said, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == code, self.said
        found = json.loads(self.summary.read_text())
        assert isinstance(found, dict)
        return found


@dataclass
class StreamSite:
    """A cloud, a Kafka on this machine, and one table that is streamed into."""

    directory: Path
    endpoints: Endpoints
    name: str
    """Of topic, group, dataset, operations dataset and run: a start continues the run of the one before."""
    runner: str = "PrismRunner"
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    expansion: Sequence[str] | None = None
    """Beam options for an expansion service that runs; None for the one that tests share, () for the launcher's own."""
    engines: Sequence[str] | None = None
    """Options that name the engines; with them the launcher is not told that all is --local."""
    topic: str = ""
    """Named like the rest of the site unless it is another's too."""
    launcher: tuple[str, ...] | None = None
    """What Python runs, None for launcher.py."""
    warehouse: Warehouse = field(default_factory=lambda: Warehouse("local-project", "US"))
    """Whose rows are read; without --local also where they go."""
    starts: int = 0

    def __post_init__(self) -> None:
        self.topic = self.topic or self.name

    def feed(self, **settings: Any) -> Feed:
        """What sends to the site's topic."""
        return Feed(self.servers, self.topic, **settings)

    @property
    def servers(self) -> str:
        """Kafka's bootstrap servers."""
        return self.endpoints.environment()["KAFKA_BOOTSTRAP_SERVERS"]

    def start(self, *arguments: str) -> StreamStart:
        """Start the stream."""
        self.starts += 1
        summary = self.directory / f"{self.name}-{self.starts}.json"
        began = datetime.now(UTC)
        options = [
            "stream",
            f"--runner={self.runner}",
            *self._place(),
            *self._expansion(),
            *self.names(),
            f"--run_id={self.name}",
            f"--summary={summary}",
            *self.arguments,
            *arguments,
        ]
        environment = {**os.environ, **self.endpoints.environment(), **self.environment}
        process: Launched | subprocess.Popen[str]
        if self.launcher is None:
            process = launching.start(options, environment, stderr_to_stdout=True)
        else:
            process = subprocess.Popen(
                [sys.executable, *self.launcher, *options],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env=environment,
            )
        return StreamStart(process, summary, began)

    def names(self) -> list[str]:
        """The options of the stream for its topic, group and datasets."""
        topic = f"--topic={self.topic}=user_events_streaming"
        return [
            topic,
            f"--group_id={self.name}",
            f"--dataset={self.name}",
            f"--operations_dataset={self.name}_operations",
        ]

    def _place(self) -> list[str]:
        if self.engines is None:
            return ["--local", f"--local_dir={self.directory}"]
        place = (f"--project={self.warehouse.project}", f"--location={self.warehouse.location}")
        return [*place, f"--bootstrap_servers={self.servers}", *self.engines]

    def _expansion(self) -> Sequence[str]:
        if self.expansion is not None:
            return self.expansion
        return expansion_options() if self.launcher is None else ()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer to a query; {data} and {operations} are the site's datasets."""
        names = {"data": self.name, "operations": f"{self.name}_operations"}
        return self.warehouse.query(sql.format(**names))

    def written_by(self, start: StreamStart, seconds: float = 180) -> int:
        """Wait for the first rows of a start; how many there are then."""
        return wait_until(lambda: self.rows_written(start.began), seconds, start.process)

    def rows_written(self, since: datetime = EVER) -> int:
        """Rows by when their worker appended them: an append of a start that was killed may show later."""
        if self.warehouse.existing(self.name, "user_events_streaming") is None:
            return 0
        rows = self.rows(
            "SELECT COUNT(*) AS n FROM {data}.user_events_streaming WHERE _ingested_at >= " + _moment(since)
        )
        return int(rows[0]["n"])

    def wait_until_read(self, records: int, seconds: float = 120) -> None:
        """Wait until the ledger accounts for this many records."""
        sql = "SELECT SUM(`read`) AS n FROM {operations}.ledger_current"
        wait_until(lambda: self.rows(sql)[0]["n"] == records, seconds)

    def check(self, feed: Feed) -> None:
        """Every valid event once in the table, every refused one once in the dead letters, every offset accounted."""
        keys = Counter(
            {
                row["event_id"]: row["n"]
                for row in self.rows(
                    "SELECT event_id, COUNT(*) AS n FROM {data}.user_events_streaming GROUP BY event_id"
                )
            }
        )
        assert keys == Counter(feed.clean)
        letters = self.rows("SELECT source, position, error_code FROM {operations}.dead_letters")
        found = Counter((row["source"], row["position"], row["error_code"]) for row in letters)
        assert found == Counter((source, offset, code) for (source, offset), code in feed.refused.items())
        lines = self.rows(
            "SELECT source, first_offset, last_offset, `read`, written, duplicate, dead_letter"
            " FROM {operations}.ledger_current WHERE kind = 'offsets' ORDER BY source, first_offset"
        )
        total: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        for line in lines:
            assert line["first_offset"] == ends[line["source"]], lines
            ends[line["source"]] = line["last_offset"] + 1
            assert line["read"] == line["written"] + line["duplicate"] + line["dead_letter"], line
            total.update({door: line[door] for door in ("read", "written", "duplicate", "dead_letter")})
        assert total == Counter(
            read=feed.sent, written=len(feed.clean), duplicate=feed.duplicates, dead_letter=len(feed.refused)
        )
