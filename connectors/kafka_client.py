"""Kafka's Python clients, made in one place, and what they refuse, said in one line."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.connection import KafkaConnection

from connectors.kafka_config import KafkaConfig
from contracts.errors import Misuse

__all__ = ["NEW_PARTITIONS", "NoBroker", "admin", "consumer", "create_topics", "partitions", "producer", "refusals"]

# At DEBUG kafka-python logs its requests: passwords too.
logging.getLogger("kafka").setLevel(max(logging.INFO, logging.getLogger("kafka").level))

Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)
REFUSED_CREDENTIALS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError)
REFUSED_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"
CONNECT_MS = 15_000
"""How long a server may take to answer at all. A refusal is said within 30 s of the start, so it is half of that."""
REQUEST_MS = 10_000


class NoBroker(Misuse):
    """No broker answers, at least not now."""


def admin(config: KafkaConfig) -> KafkaAdminClient:
    """A connected client for topics, groups and offsets. Raises Misuse; see refusals."""
    return _connected(config, KafkaAdminClient)


def consumer(config: KafkaConfig, group: str | None = None) -> KafkaConsumer:
    """A connected client that reads, or commits for `group`, what it is told to: it subscribes to nothing and commits
    nothing by itself. Raises Misuse; see refusals.
    """
    return _connected(
        config, KafkaConsumer, group_id=group, enable_auto_commit=False, isolation_level="read_committed",
        auto_offset_reset="earliest", allow_auto_create_topics=False,
    )  # fmt: skip


def producer(config: KafkaConfig) -> KafkaProducer:
    """A connected client that sends: a record once, and told when all replicas have it. Raises Misuse; see refusals."""
    return _connected(
        config, KafkaProducer, acks="all", enable_idempotence=True, linger_ms=20, batch_size=1 << 17,
        max_block_ms=CONNECT_MS, allow_auto_create_topics=False,
    )  # fmt: skip


def _connected(config: KafkaConfig, make: Callable[..., Client], **settings: object) -> Client:
    failures: list[BaseException] = []
    timeouts = {"request_timeout_ms": REQUEST_MS, "bootstrap_timeout_ms": CONNECT_MS}
    with refusals(config):
        try:
            return make(**timeouts | config.settings() | settings, kafka_client=partial(_net_client, failures))
        except KafkaTimeoutError:
            last = f"; the last attempt: {_said(failures[-1])}" if failures else ""
            raise NoBroker(f"no Kafka broker answers at {config.bootstrap_servers}{last}") from None


def _net_client(failures: list[BaseException], **settings: object) -> KafkaNetClient:
    """kafka-python's network client, with two mends of version 3.0, which keeps `failures` at the latest one.

    It means to stop at refused credentials (its pull request 2994), but where a connection's initialization is refused
    it tries again until it can only say that time is up. And it drops what it received if the broker closed the
    connection meanwhile, as one does behind the answer that refuses the credentials.
    """
    client = KafkaNetClient(**settings)
    manager: Any = client._manager
    get_connection, build_transport = manager.get_connection, manager._build_transport

    def watched(node: object, *args: object, **options: object) -> KafkaConnection:
        if failures and (isinstance(failures[0], REFUSED_CREDENTIALS) or REFUSED_CERTIFICATE in str(failures[0])):
            raise failures[0]  # the next attempt would meet it again
        connection: KafkaConnection = get_connection(node, *args, **options)
        connection.init_future.add_callback(lambda _: failures.clear())
        connection.init_future.add_errback(lambda error: failures.__setitem__(slice(None), [error]))
        return connection

    async def transport(*args: object, **options: object) -> Any:
        made = await build_transport(*args, **options)
        receive = made._sock_recv

        def received() -> tuple[bytes, BaseException | None]:
            data, error = receive()
            return data, None if data else error  # the next call meets the error again

        made._sock_recv = received
        return made

    manager.get_connection, manager._build_transport = watched, transport
    return client


def partitions(client: KafkaAdminClient, config: KafkaConfig, topics: Sequence[str]) -> dict[str, int]:
    """The number of partitions of each topic. Misuse for one that does not exist."""
    with refusals(config):
        found = {one["name"]: one for one in client.describe_topics(list(topics))}
    counts = {}
    for topic in topics:
        described = found.get(topic, {})
        if described.get("error_code") == TopicAuthorizationFailedError.errno:
            raise Misuse(f"no permission on topic {topic} of {config.bootstrap_servers}")
        if not described.get("partitions"):
            raise Misuse(f"there is no topic {topic} at {config.bootstrap_servers}; --create_topics makes it")
        counts[topic] = len(described["partitions"])
    return counts


NEW_PARTITIONS = 4
"""Of a topic that is made, unless another number is asked for."""


def create_topics(client: KafkaAdminClient, config: KafkaConfig, topics: Mapping[str, int]) -> list[str]:
    """Make those of the topics (partitions by name) that do not exist; their names, when they are ready."""
    with refusals(config):
        existing = set(client.list_topics())
        missing = {name: {"num_partitions": count} for name, count in topics.items() if name not in existing}
        if missing:
            client.create_topics(missing, wait_for_metadata=True)
    return list(missing)


@contextmanager
def refusals(config: KafkaConfig) -> Iterator[None]:
    """Within the block, Kafka's errors that a user can mend are Misuse: one line, without a secret."""
    servers = config.bootstrap_servers
    try:
        yield
    except REFUSED_CREDENTIALS as error:
        raise Misuse(f"Kafka at {servers} refuses the credentials of --kafka_config: {_said(error)}") from None
    except GroupAuthorizationFailedError:
        raise Misuse(f"no permission on the consumer group at {servers}") from None
    except TopicAuthorizationFailedError as error:
        raise Misuse(f"no permission on a topic at {servers}: {_said(error)}") from None
    except ClusterAuthorizationFailedError:
        raise Misuse(f"no permission on the cluster {servers}") from None
    except KafkaTimeoutError:
        raise NoBroker(f"no Kafka broker answers at {servers}") from None
    except KafkaError as error:
        raise Misuse(f"Kafka at {servers} refuses: {_said(error)}") from None


def _said(error: BaseException) -> str:
    """What the error says, on one line and without the names that kafka-python puts before it."""
    text = re.sub(r"^(\[Error -?\d+\]\s*)?(\w+Error(:\s*|$))*", "", " ".join(str(error).split()))
    return text or type(error).__name__.removesuffix("Error")
