"""`launcher.py produce` against a real Kafka: what it sends is what is there, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from local import services
from local.services import Endpoints
from sample_data.dirty_stream import DirtyStream
from sample_data.seed import STREAM_EVENTS, ensure_sample_events, ensure_sample_files
from tests import launching
from tests.e2e.clouds import Cloud
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

EVENTS = [
    json.dumps({"event_id": f"e{n}", "customer_id": f"C{n % 7}", "event_type": "search", "page_url": "/ü"}).encode()
    for n in range(500)
]


@pytest.fixture(scope="module")
def cloud(kafka_cloud: tuple[Path, Endpoints]) -> Cloud:
    """The launcher on a cloud with Kafka."""
    return Cloud(kafka_cloud[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of events."""
    path = tmp_path / "user_events.json"
    path.write_bytes(b"\n".join(EVENTS))
    return path


def records(cloud: Cloud, topic: str) -> list[Any]:
    """What is in the topic, partition by partition."""
    servers = services.status(cloud.directory).environment()["KAFKA_BOOTSTRAP_SERVERS"]
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(consumer.assignment())
    found = []
    deadline = time.monotonic() + 30
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        assert time.monotonic() < deadline
        for some in consumer.poll(timeout_ms=500).values():
            found += some
    consumer.close(autocommit=False)
    return found


def wait_for_records(cloud: Cloud, topic: str) -> None:
    """Wait until the topic exists and has records."""
    servers = services.status(cloud.directory).environment()["KAFKA_BOOTSTRAP_SERVERS"]
    with KafkaAdminClient(bootstrap_servers=servers) as admin:
        wait_until(lambda: topic in admin.list_topics(), 60)
    wait_until(lambda: records(cloud, topic), 60)


def test_records_arrive_as_they_stand_each_once_and_a_customers_in_order(cloud: Cloud, file: Path) -> None:
    missing = cloud.launch("produce", "--local", f"--input={file}", "--topic=events", code=2)
    assert missing.stderr.startswith("error: there is no topic events at 127.0.0.1:")
    done = cloud.launch("produce", "--local", f"--input={file}", "--topic=events", "--create_topics", "--partitions=3")
    assert done.stderr == "500 records sent to events\n"
    found = records(cloud, "events")
    assert sorted(one.value for one in found) == sorted(EVENTS)
    assert {one.partition for one in found} <= {0, 1, 2}
    of_key = defaultdict(list)
    for one in found:
        of_key[one.key].append((one.partition, one.value))
    assert of_key.keys() == {f"C{n}".encode() for n in range(7)}
    for key, several in of_key.items():
        assert len({partition for partition, _ in several}) == 1
        assert [value for _, value in several] == [
            value for value in EVENTS if json.loads(value)["customer_id"] == key.decode()
        ]


def test_dirt_and_its_manifest(cloud: Cloud, tmp_path: Path) -> None:
    path, manifest = tmp_path / "user_events.json.gz", tmp_path / "manifest.json"
    path.write_bytes(gzip.compress(b"[" + b",".join(EVENTS) + b"]"))
    options = ("--topic=dirty", "--create_topics", "--dirty=0.2", f"--manifest={manifest}")
    cloud.launch("produce", "--local", f"--input={path}", *options)
    found, said = records(cloud, "dirty"), json.loads(manifest.read_text())
    assert len(found) == said["read"] == said["written"] + said["duplicate"] + said["dead_letter"]
    assert said["written"] == 500 < said["read"]
    values = [one.value for one in found]
    assert values.count(None) >= 1
    assert values.count(b"") >= 1


def test_limit_rate_and_loop(cloud: Cloud, file: Path) -> None:
    began = time.monotonic()
    options = ("--topic=looped", "--create_topics", "--loop", "--limit=1200", "--rate=400")
    cloud.launch("produce", "--local", f"--input={file}", *options)
    assert time.monotonic() - began > 1199 / 400
    assert len(records(cloud, "looped")) == 1200


def test_an_interrupt_keeps_and_counts_what_was_sent(cloud: Cloud, file: Path) -> None:
    command = ["produce", "--local", f"--input={file}", "--topic=cut", "--create_topics"]
    command += ["--loop", "--rate=200", f"--local_dir={cloud.directory}"]
    with launching.start(command) as process:
        wait_for_records(cloud, "cut")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0  # with --loop there is no other end
    count = len(records(cloud, "cut"))
    assert count > 0
    assert said == f"interrupted; {count:,} records sent to cut\n"


def test_sample_data_is_whole_or_not_there(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle leaves nothing: the next start would take a part of it for the whole."""
    for name, value in services.status(cloud.directory).environment().items():
        monkeypatch.setenv(name, value)
    config = KafkaConfig(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    said: list[str] = []

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    storage = Storage("local-project")
    with monkeypatch.context() as context:
        context.setattr(DirtyStream, "records", interrupted)
        context.setattr(Storage, "write", interrupted_after(2, storage.write))
        with pytest.raises(KeyboardInterrupt):
            ensure_sample_events(config, "sample", said.append)
        with pytest.raises(KeyboardInterrupt):
            ensure_sample_files(storage, "gs://samples/raw", said.append)
    assert said == []
    assert list(storage.list("gs://samples/raw")) == []
    ensure_sample_files(storage, "gs://samples/raw", said.append)
    ensure_sample_events(config, "sample", said.append)
    ensure_sample_files(storage, "gs://samples/raw", said.append)
    ensure_sample_events(config, "sample", said.append)
    assert [line.partition(": ")[0] for line in said] == ["no raw files in gs://samples/raw yet", "no topic sample yet"]
    assert len(records(cloud, "sample")) >= STREAM_EVENTS
    # No other file: the first command would say that it does not read it.
    assert not [file.uri for file in storage.list("gs://samples/raw") if "manifest" in file.uri]


def interrupted_after(times: int, write: Callable[[str, bytes], None]) -> Callable[[Storage, str, bytes], None]:
    """A write of files that is interrupted after a number of them."""
    left = count()

    def some(storage: Storage, uri: str, data: bytes) -> None:
        if next(left) >= times:
            raise KeyboardInterrupt
        write(uri, data)

    return some


def test_what_is_too_large_for_kafka_is_said(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "user_events.ndjson"
    large = json.dumps({"event_id": "large", "page_url": "x" * 1_100_000}).encode()
    path.write_bytes(b"\n".join([EVENTS[0], large, EVENTS[1]]))
    done = cloud.launch("produce", "--local", f"--input={path}", "--topic=large", "--create_topics", code=1)
    assert done.stderr == ("2 records sent to large\n1 records were not sent: they are larger than a request may be\n")


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("none.json", None, (), "there is no such file"),
        ("events.csv", b"a\n1\n", (), "records come from .json"),
        ("events.json", b"", (), "there is no record in it"),
        ("events.json.gz", b"\x1f\x8b\x08\x00 broken", (), "the file cannot be read"),
        ("events.json", b"{}", ("--rate=0",), "--rate: 0: give a number above 0"),
        ("events.json", b"{}", ("--dirty=0.6",), "--dirty 0.6: give a share"),
        ("events.json", b"{}", ("--kafka_config=/dev/null/none",), "--kafka_config /dev/null/none: cannot be read"),
    ],
)
def test_misuse_is_one_line(
    cloud: Cloud, tmp_path: Path, name: str, content: bytes | None, options: tuple[str, ...], said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    options = (f"--input={tmp_path / name}", "--topic=misuse", "--create_topics", *options)
    error = cloud.launch("produce", "--local", *options, code=2).stderr
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
