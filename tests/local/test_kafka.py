"""Kafka on this machine: real records through restarts, kills and next to another broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient

from local import kafka
from local.processes import start_time
from local.services import Endpoints, down, running, status, up
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from local.services import running
with running(Path(sys.argv[1]), ["kafka"]) as endpoints:
    print(endpoints.services["kafka"].process.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder of the test's own; what still runs there is stopped."""
    yield tmp_path / "state"
    down(tmp_path / "state")


def servers(endpoints: Endpoints) -> str:
    """The address for clients."""
    return endpoints.environment()["KAFKA_BOOTSTRAP_SERVERS"]


def send(where: str, *values: bytes) -> None:
    """Send values to topic t, which is made if it is not there."""
    with KafkaAdminClient(bootstrap_servers=where) as admin:
        if "t" not in admin.list_topics():
            admin.create_topics({"t": {"num_partitions": 2}}, wait_for_metadata=True)
    with KafkaProducer(bootstrap_servers=where, acks="all") as producer:
        for value in values:
            producer.send("t", value=value, partition=1).get(timeout=20)


@contextmanager
def reading(where: str, group: str | None = None) -> Iterator[KafkaConsumer]:
    """A consumer of the partition that `send` sends to."""
    consumer = KafkaConsumer(bootstrap_servers=where, group_id=group, enable_auto_commit=False)
    consumer.assign([TopicPartition("t", 1)])
    yield consumer
    consumer.close(autocommit=False)


def values_of(where: str, count: int) -> list[bytes]:
    """The first values in the topic."""
    with reading(where) as consumer:
        consumer.seek_to_beginning()
        found: list[bytes] = []
        deadline = time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                found += [record.value for record in records]
    return found


def test_topics_records_and_offsets_outlive_the_broker_beside_another_one(state: Path, tmp_path: Path) -> None:
    """It ends by SIGTERM, then by SIGKILL; the folder of its first start was half formatted."""
    (state / "kafka" / "data").mkdir(parents=True)
    (state / "kafka" / "data" / "meta.properties").write_text("#\nversion=1\nclu")
    before = up(state, ["kafka"])
    assert (state / "kafka" / kafka.FORMATTED).exists()
    assert before.status()["kafka"].keys() == {"bootstrap_servers", "pid", "folder"}
    sent = [b"one", b"two"]
    send(servers(before), *sent)
    with reading(servers(before), "g") as consumer:
        consumer.commit({TopicPartition("t", 1): OffsetAndMetadata(1, "", -1)})
    with running(tmp_path / "other", ["kafka"]) as other:
        send(servers(other), b"other", b"more")
        assert (values_of(servers(before), 2), values_of(servers(other), 2)) == (sent, [b"other", b"more"])
        pid = other.services["kafka"].process.pid
    assert start_time(pid) is None
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = status(state).services["kafka"].process.pid
        os.kill(pid, number)
        while start_time(pid):
            time.sleep(0.05)
        after = up(state, ["kafka"])
        assert servers(after) == servers(before)
        sent.append(str(number).encode())
        send(servers(after), sent[-1])
        assert values_of(servers(after), len(sent)) == sent
        with reading(servers(after), "g") as consumer:
            assert consumer.committed(TopicPartition("t", 1)) == 1


def test_it_ends_with_a_launcher_that_is_killed(state: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert start_time(pid)
        holder.kill()
    wait_until(lambda: not start_time(pid), 20)
    assert status(state).status() == {}
