"""What is refused before a stream starts: one line, exit code 2, nothing submitted."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

import launcher
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from local.services import Endpoints
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Refusals:
    """Runs streams that must be refused."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._directory, self._capsys = directory, capsys

    def __call__(self, *arguments: str, runner: str = "PrismRunner", topic: str = "events", code: int = 2) -> str:
        """What it said."""
        began = time.monotonic()
        ended = launcher.main(
            [
                *("stream", f"--runner={runner}", "--local", f"--local_dir={self._directory}", "--dataset=refused"),
                *("--operations_dataset=refused_operations", f"--topic={topic}=user_events_streaming", *arguments),
            ]
        )
        said = self._capsys.readouterr().err
        assert ended == code, said
        assert time.monotonic() - began < 30
        assert "Traceback" not in said
        return said


@pytest.fixture
def refused(kafka_cloud: tuple[Path, Endpoints], servers: str, capsys: pytest.CaptureFixture[str]) -> Refusals:
    """What runs a stream and expects a refusal."""
    return Refusals(kafka_cloud[0], capsys)


def test_an_engine_that_reads_nothing_without_an_end(refused: Refusals) -> None:
    assert "DirectRunner cannot run a stream, which has no end: take PrismRunner" in refused(runner="DirectRunner")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--topic=events", "--topic is TOPIC=TABLE, not 'events'"),
        ("--topic=events=user_events_streaming", "--topic: events is given twice"),
        ("--topic=other=nothing", "--topic: no contract has a table nothing; there are customers"),
        ("--fold_every=soon", "--fold_every must be a number with s, m, h or d, such as 24h, not 'soon'"),
        ("--dedup_horizon=soon", "--dedup_horizon must be a number with s, m, h or d, such as 24h, not 'soon'"),
        ("--buckets=0", "--buckets must be from 1 to 256"),
        ("--max_restarts=-1", "--max_restarts must be at least 0"),
        ("--stop_when_idle=-1", "--stop_when_idle must be at least 0 seconds"),
        ("--start_from=yesterday", "--start_from must be earliest, latest or timestamp:"),
        ("--start_from=timestamp:soon", "--start_from must be earliest, latest or timestamp:"),
        ("--group=x", "unknown option --group; did you mean --group_id?"),
    ],
)
def test_values_that_no_stream_takes(refused: Refusals, argument: str, said: str) -> None:
    assert said in refused("--group_id=values", argument)


def test_nobody_named_a_server(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert launcher.main(["stream", "--runner=PrismRunner", "--project=p"]) == 2
    assert "--location, --bootstrap_servers are missing" in capsys.readouterr().err


def test_no_broker_answers(refused: Refusals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        assert f"no Kafka broker answers at {address}" in refused(f"--bootstrap_servers={address}", code=5)


def test_an_unknown_topic(refused: Refusals) -> None:
    assert "there is no topic nowhere" in refused(topic="nowhere")


def test_a_property_that_commits_by_itself(refused: Refusals, tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("enable.auto.commit=true\n")
    assert "enable.auto.commit is not supported" in refused(f"--kafka_config={file}")


def test_a_group_with_members(refused: Refusals, servers: str) -> None:
    consumer = KafkaConsumer("events", bootstrap_servers=servers, group_id="members")
    try:
        deadline = time.monotonic() + 120
        while not consumer.assignment():
            assert time.monotonic() < deadline
            consumer.poll(200)
        said = refused("--group_id=members")
        assert "group members has members that subscribe to topics ('kafka-python-" in said
        assert " at /127.0.0.1); stop them, or give another name" in said
        # A missing topic is created if that was asked for, before the group is checked.
        assert "group members has members" in refused("--group_id=members", "--create_topics", topic="made")
        assert "made" in consumer.topics()
    finally:
        consumer.close()


def test_a_topic_that_was_made_anew(refused: Refusals, servers: str) -> None:
    GroupOffsets(KafkaConfig(servers), "before").commit({"kafka://events/0": 51})
    assert "events/0 ends at offset 50, group before has committed 51: the topic was recreated" in refused(
        "--group_id=before"
    )


def test_offsets_that_the_broker_no_longer_has(
    kafka_cloud: tuple[Path, Endpoints], refused: Refusals, servers: str
) -> None:
    stream = StreamSite(*kafka_cloud, "expired")
    feed = stream.feed(partitions=1, dirty=0.0)
    feed.send(100)
    GroupOffsets(KafkaConfig(servers), "expired").commit({"kafka://expired/0": 10})
    client = KafkaAdminClient(bootstrap_servers=servers)
    client.delete_records({TopicPartition("expired", 0): 40})
    client.close()
    assert "kafka://expired/0: offsets 10 to 39 were removed by the broker before they were read" in refused(
        "--group_id=expired", topic="expired"
    )
    found = stream.start("--allow_lost_offsets", "--stop_when_idle=1").finish()
    assert found["lost"] == [{"source": "kafka://expired/0", "first": 10, "last": 39}]
    assert found["tables"]["user_events_streaming"]["read"] == 60


def test_a_table_or_a_group_that_another_run_has(refused: Refusals) -> None:
    leases = Leases(Warehouse("local-project", "US"), "refused_operations")
    for name, said in (
        ("refused.user_events_streaming", "table refused.user_events_streaming is being written by run other"),
        ("group:held", "group held is read by run other"),
    ):
        assert leases.take([name], "other", "token") is None
        with Heartbeat(leases, [name], "token"):
            assert said in refused("--group_id=held")


def test_another_number_of_buckets_while_there_is_something_to_read(
    kafka_cloud: tuple[Path, Endpoints], servers: str
) -> None:
    stream = StreamSite(*kafka_cloud, "split")
    feed = stream.feed()
    feed.send(200)
    stream.start("--stop_when_idle=1", "--buckets=4").finish()
    feed.send(1)
    said, _ = stream.start("--buckets=3").process.communicate(timeout=60)
    assert "split.user_events_streaming is split into 4; another number needs a drained stream" in said
    stream.start("--stop_when_idle=1").finish()
    stream.start("--stop_when_idle=1", "--buckets=3").finish()
    stream.check(feed)
