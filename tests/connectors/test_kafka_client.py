"""What a broker refuses, in one line and soon: on a real one with users, passwords and permissions."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from connectors.kafka.client import admin, consumer, create_topics, partitions, producer, refusals
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from contracts.errors import ReportedError, Unavailable, UsageError
from tests.brokers import LOGIN, broker
from tests.connectors.certificates import Authority

pytestmark = pytest.mark.e2e

PASSWORD = "planted-5f1c"
Ports = dict[str, int]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """It vouches for the broker, and for clients."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Ports]:
    """A broker where anybody may do anything on `broker`, and `ssl` takes only whom the authority vouches for; alice,
    who has no permission, comes in by `sasl`.
    """
    listeners = {"PLAINTEXT": "broker", "CONTROLLER": "controller", "SASL_PLAINTEXT": "sasl", "SSL": "ssl"}
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{LOGIN} user_alice="{PASSWORD}";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:CN=client",
        "ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.keystore("broker", None)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
    }
    with broker(tmp_path_factory.mktemp("kafka"), listeners, settings) as found:
        anybody = KafkaConfig.load(f"127.0.0.1:{found['broker']}", None, bytes)
        with admin(anybody) as client:
            assert create_topics(client, anybody, {"t": 3}) == ["t"]
            assert create_topics(client, anybody, {"t": 5}) == []
            assert partitions(client, anybody, ["t"]) == {"t": 3}
        yield found


@pytest.fixture
def alice(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> KafkaConfig:
    """Alice, with the right password."""
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    return sasl(ports["sasl"])


def sasl(port: int, mechanism: str = "PLAIN") -> KafkaConfig:
    """Alice at a port, her password in the environment."""
    jaas = f'{LOGIN} username="alice" password="env:KAFKA_PASSWORD";'
    text = f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config={jaas}\n"
    return KafkaConfig.load(f"127.0.0.1:{port}", "client.properties", lambda name: text.encode())


def refused(call: Callable[[], object], said: str, seconds: float, kind: type[ReportedError] = UsageError) -> None:
    """Hold a call to the kind of its error, what that says, and when."""
    began = time.monotonic()
    with pytest.raises(kind, match=said) as error:
        call()
    assert time.monotonic() - began < seconds
    assert "\n" not in str(error.value)
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("make", [admin, consumer, producer])
def test_wrong_credentials(
    ports: Ports, monkeypatch: pytest.MonkeyPatch, make: Callable[[KafkaConfig], object]
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    said = rf"^Kafka at 127\.0\.0\.1:{ports['sasl']} refuses the credentials of --kafka_config: Authentication failed: "
    refused(lambda: make(sasl(ports["sasl"])), said, 10)


def test_kafka_python_retries_refused_credentials_without_the_patch(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, observe_connections need not raise a refusal any more."""
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    with pytest.raises(KafkaTimeoutError):
        KafkaAdminClient(**sasl(ports["sasl"]).settings() | {"bootstrap_timeout_ms": 3_000})


def test_a_mechanism_or_a_listener_that_is_another(alice: KafkaConfig, ports: Ports) -> None:
    said = "^Kafka at .* refuses the credentials of --kafka_config: "
    refused(lambda: admin(sasl(ports["sasl"], "SCRAM-SHA-256")), said + "UnsupportedSaslMechanism$", 10)
    refused(lambda: admin(sasl(ports["broker"])), said + "IllegalSaslState$", 10)


def test_no_permission(alice: KafkaConfig) -> None:
    with admin(alice) as client:
        refused(lambda: partitions(client, alice, ["t"]), "^no permission on topic t of 127", 10)

        def groups() -> None:
            with refusals(alice):
                client.describe_groups(["g"])

        refused(groups, "^no permission on the consumer group at 127", 10)
        refused(lambda: create_topics(client, alice, {"new": 1}), "^no permission on a", 10)

    def committed() -> None:
        with refusals(alice):
            consumer(alice, "g").committed(TopicPartition("t", 0))

    refused(committed, "^no permission on the consumer group at 127", 10)


def test_tls_on_both_sides(ports: Ports, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tls(trusted: Path, keystore: Path) -> KafkaConfig:
        text = (
            "security.protocol=SSL\nssl.truststore.type=PEM\nssl.keystore.type=PEM\nssl.key.password=env:KEY_PASSWORD\n"
            f"ssl.truststore.location={trusted}\nssl.keystore.location={keystore}\n"
        )
        return KafkaConfig.load(f"127.0.0.1:{ports['ssl']}", "client.properties", lambda name: text.encode())

    monkeypatch.setenv("KEY_PASSWORD", PASSWORD)
    known = tls(authority.file, authority.keystore("client", PASSWORD))
    with admin(known) as client:
        assert partitions(client, known, ["t"]) == {"t": 3}
    other = Authority(tmp_path)
    another_broker = tls(other.file, authority.keystore("client", PASSWORD))
    refused(lambda: admin(another_broker), "^Kafka at 127.* refuses: Handshake failed: .*CERTIFICATE_VERIFY_FAILED", 10)


def test_unknown_topic(ports: Ports) -> None:
    config = KafkaConfig.load(f"127.0.0.1:{ports['broker']}", None, bytes)
    with admin(config) as client:
        said = rf"^there is no topic none at 127\.0\.0\.1:{ports['broker']}; --create_topics creates it$"
        refused(lambda: partitions(client, config, ["t", "none"]), said, 10)


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    config = KafkaConfig.load(address, None, bytes)
    said = rf"^no Kafka broker answers at {address}; the last attempt: .*ECONNREFUSED$"
    refused(lambda: admin(config), said, 29, Unavailable)


def test_no_log_has_the_password(alice: KafkaConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    level = logging.getLogger("kafka").level
    assert level >= logging.INFO
    caplog.set_level(logging.INFO, "kafka")  # a launcher that ran in this process lets it say less
    makers: list[Callable[[KafkaConfig], Any]] = [admin, consumer, producer]
    for make in makers:
        make(alice).close()
    assert "kafka" in {record.name.split(".")[0] for record in caplog.records}
    assert PASSWORD not in caplog.text


class Removing(GroupOffsets):
    """Offsets of a group; the broker removes records before or after it is asked for the next one."""

    topic = ""
    removes_first = True

    def next_record(self, source: str, offset: int, end: int | None = None) -> int:
        partition = TopicPartition(self.topic, 0)
        with admin(self.config) as client:
            if self.removes_first:
                client.delete_records({partition: 10})
            found = super().next_record(source, offset, end)
            client.delete_records({partition: 10})
        return found


@pytest.mark.parametrize("removes_first", [True, False])
def test_records_that_are_removed_meanwhile_are_not_nothing(ports: Ports, removes_first: bool) -> None:
    """They may have been read, and wait to be written."""
    config = KafkaConfig(f"127.0.0.1:{ports['broker']}")
    name = f"removed-{removes_first}"
    with admin(config) as client, producer(config) as sender:
        create_topics(client, config, {name: 1})
        for _ in range(10):
            sender.send(name, b"{}").get(30)
    offsets = Removing(config, "g")
    offsets.topic, offsets.removes_first = name, removes_first
    with closing(offsets):
        assert not offsets.nothing_to_read(f"kafka://{name}/0", 0, 10)
        assert offsets.beginnings([f"kafka://{name}/0"]) == {f"kafka://{name}/0": 10}
        assert offsets.nothing_to_read(f"kafka://{name}/0", 10, 10) is False
