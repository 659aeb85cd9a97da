"""What doctor finds in brokers, topics and consumer groups."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from tests.brokers import LOGIN, broker
from tests.e2e.doctors import Doctor, closed_port, doctor
from tests.e2e.streams import Feed

__all__ = ["doctor"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_a_broker_that_is_not_there(doctor: Doctor) -> None:
    address = f"127.0.0.1:{closed_port()}"
    began = time.monotonic()
    mark, says, fix = doctor(f"--bootstrap_servers={address}", code=1)["kafka"]
    assert time.monotonic() - began < 45
    assert says.startswith(f"no Kafka broker answers at {address}")
    assert (mark, fix) == ("wrong", "start the broker, or correct --bootstrap_servers and --kafka_config")


def test_a_topic_without_a_server(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    found = doctor("--topic=x=user_events_streaming", "--bootstrap_servers=", code=1)["kafka config"]
    assert found[:2] == ("wrong", "--bootstrap_servers is missing: HOST:PORT of a Kafka broker")


def test_a_kafka_config_that_cannot_be_used(doctor: Doctor, servers: str, tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    jaas = f'{LOGIN} username="u" password="env:NO_SUCH_VARIABLE";'
    file.write_text(f"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
    arguments = (f"--bootstrap_servers={servers}", f"--kafka_config={file}")
    mark, says, _ = doctor(*arguments, code=1)["kafka config"]
    assert mark == "wrong"
    assert says.endswith("the environment variable NO_SUCH_VARIABLE is not set")
    file.write_text("enable.auto.commit=true\n")
    assert "enable.auto.commit is not supported" in doctor(*arguments, code=1)["kafka config"][1]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """A broker where anybody may do anything on `broker`, and alice, who may nothing, comes in by `sasl`."""
    listeners = {"PLAINTEXT": "broker", "CONTROLLER": "controller", "SASL_PLAINTEXT": "sasl"}
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{LOGIN} user_alice="right";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with broker(tmp_path_factory.mktemp("kafka"), listeners, settings) as ports:
        yield ports


def test_what_a_broker_refuses(
    doctor: Doctor, secured: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "kafka.properties"
    jaas = f'{LOGIN} username="alice" password="env:KAFKA_PASSWORD";'
    file.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
    arguments = (f"--bootstrap_servers=127.0.0.1:{secured['sasl']}", f"--kafka_config={file}")
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    mark, says, _ = doctor(*arguments, code=1)["kafka"]
    assert mark == "wrong"
    assert "refuses the credentials of --kafka_config: Authentication failed" in says
    monkeypatch.setenv("KAFKA_PASSWORD", "right")
    found = doctor(*arguments, "--topic=t=user_events_streaming", code=1)
    assert found["topic t"][0] == "wrong"
    assert found["topic t"][1].startswith("no permission on topic t of ")
    assert "Describe and Read" in found["topic t"][2]
    assert found["group contract-pipeline"][0] == "wrong"
    assert found["group contract-pipeline"][1].startswith("no permission on the consumer group at ")


def test_topics(doctor: Doctor, servers: str) -> None:
    arguments = (f"--bootstrap_servers={servers}", "--topic=events=user_events_streaming")
    found = doctor(*arguments, "--topic=none=transactions_streaming", "--topic=other=nothing", code=1)
    assert found["kafka"] == ("ok", f"1 broker(s) at {servers}", "")
    assert found["topic events"] == ("ok", "1 partitions", "")
    assert found["topic none"][0] == "wrong"
    assert found["topic none"][1].endswith("; --create_topics creates it")
    assert found["--topic other=nothing"][1].startswith("--topic: no contract has a table nothing; there are ")
    found = doctor(*arguments, "--topic=none=transactions_streaming", "--create_topics")
    assert found["topic none"][0] == "warning"


def test_groups(doctor: Doctor, servers: str) -> None:
    arguments = (f"--bootstrap_servers={servers}", "--topic=events=user_events_streaming")
    GroupOffsets(KafkaConfig(servers), "lagging").commit({"kafka://events/0": 20})
    found = doctor(*arguments, "--group_id=lagging")["group lagging"]
    assert found == ("ok", "no members, 30 offsets left to read", "")
    found = doctor(*arguments, "--group_id=new")["group new"]
    assert found == ("ok", "new: --start_from says where it begins", "")
    GroupOffsets(KafkaConfig(servers), "before").commit({"kafka://events/0": 51})
    mark, says, _ = doctor(*arguments, "--group_id=before", code=1)["group before"]
    assert mark == "wrong"
    assert "the topic was recreated; give another --group_id" in says


def test_a_group_that_has_members(doctor: Doctor, servers: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id="members")
    assert consumer.partitions_for_topic("events")  # without it a client that joins first assigns no partition
    consumer.subscribe(["events"])
    try:
        deadline = time.monotonic() + 30
        while not consumer.assignment():
            assert time.monotonic() < deadline
            consumer.poll(200)
        arguments = (f"--bootstrap_servers={servers}", "--topic=events=user_events_streaming", "--group_id=members")
        mark, says, _ = doctor(*arguments, code=1)["group members"]
    finally:
        consumer.close()
    assert mark == "wrong"
    assert "group members has members that subscribe" in says


def test_records_that_the_broker_no_longer_has(doctor: Doctor, servers: str) -> None:
    Feed(servers, "expired", partitions=1).send(100)
    GroupOffsets(KafkaConfig(servers), "expired").commit({"kafka://expired/0": 10})
    client = KafkaAdminClient(bootstrap_servers=servers)
    client.delete_records({TopicPartition("expired", 0): 40})
    client.close()
    arguments = (f"--bootstrap_servers={servers}", "--topic=expired=user_events_streaming", "--group_id=expired")
    found = doctor(*arguments, code=1)["group expired"]
    assert found == (
        "wrong",
        "kafka://expired/0: offsets 10 to 39 were removed by the broker before they were read",
        "--allow_lost_offsets goes on behind them",
    )
