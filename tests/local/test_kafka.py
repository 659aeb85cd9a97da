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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_topics_records_and_offsets_outlive_the_broker(state: Path, number: signal.Signals) -> None:
    before = up(state, ["kafka"])
    send(servers(before), b"one", b"two")
    with reading(servers(before), "g") as consumer:
        consumer.commit({TopicPartition("t", 1): OffsetAndMetadata(1, "", -1)})
    process = before.services["kafka"].process
    os.kill(process.pid, number)
    deadline = time.monotonic() + 20
    while process.alive:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    after = up(state, ["kafka"])
    assert servers(after) == servers(before)
    send(servers(after), b"three")
    assert values_of(servers(after), 3) == [b"one", b"two", b"three"]
    with reading(servers(after), "g") as consumer:
        assert consumer.committed(TopicPartition("t", 1)) == 1


def test_two_beside_each_other(state: Path, tmp_path: Path) -> None:
    with running(state, ["kafka"]) as one, running(tmp_path / "other", ["kafka"]) as other:
        assert one.status()["kafka"].keys() == {"bootstrap_servers", "pid", "folder"}
        send(servers(one), b"first")
        send(servers(other), b"second", b"third")
        assert (values_of(servers(one), 1), values_of(servers(other), 2)) == ([b"first"], [b"second", b"third"])
        pids = [endpoints.services["kafka"].process.pid for endpoints in (one, other)]
    assert [start_time(pid) for pid in pids] == [None, None]


def test_it_ends_with_a_launcher_that_is_killed(state: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert start_time(pid)
        holder.kill()
    deadline = time.monotonic() + 20
    while start_time(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status(state).status() == {}


def test_a_folder_that_was_half_formatted_is_formatted_anew(state: Path) -> None:
    (state / "kafka" / "data").mkdir(parents=True)
    (state / "kafka" / "data" / "meta.properties").write_text("#\nversion=1\nclu")
    with running(state, ["kafka"]) as endpoints:
        assert (state / "kafka" / kafka.FORMATTED).exists()
        send(servers(endpoints), b"one")
