"""Kafka's Python clients, created in one place, and their refusals, reported in one line."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

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

from connectors.kafka.config import KafkaConfig
from connectors.upstream.kafka_python import keep_received_data, observe_connections
from contracts.errors import Unavailable, UsageError
from transforms import waits

__all__ = [
    "NEW_PARTITIONS",
    "NoBroker",
    "NoTopic",
    "admin",
    "clients_closed",
    "cluster_id",
    "consumer",
    "create_topics",
    "partitions",
    "producer",
    "refusals",
    "topic_ids",
]

Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)
REFUSED_CREDENTIALS = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError)
CONNECT_MS = 15_000
"""How long to wait for a server's first answer: half of the 30 s within which a command reports a refusal."""
REQUEST_MS = 10_000
_open_clients: set[KafkaAdminClient | KafkaConsumer | KafkaProducer] = set()
"""The clients of this process; see `clients_closed`. An unreferenced client keeps its thread and its connections."""
_open_clients_lock = threading.Lock()


class NoBroker(Unavailable):
    """No broker answers at the moment."""


class NoTopic(UsageError):
    """The topic does not exist."""


def admin(config: KafkaConfig) -> KafkaAdminClient:
    """Return a connected client for topics, groups and offsets. Raises as `refusals` does."""
    return _connected(config, KafkaAdminClient)


def consumer(config: KafkaConfig, group: str | None = None) -> KafkaConsumer:
    """Return a connected client that reads, and commits offsets of `group` on request.

    It subscribes to no topic and never commits automatically. Raises as `refusals` does.
    """
    return _connected(
        config,
        KafkaConsumer,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
    )


def producer(config: KafkaConfig) -> KafkaProducer:
    """Return a connected, idempotent client that sends; a record is acknowledged when all replicas have it.

    Raises as `refusals` does.
    """
    return _connected(
        config,
        KafkaProducer,
        acks="all",
        enable_idempotence=True,
        linger_ms=20,
        batch_size=1 << 17,
        max_block_ms=CONNECT_MS,
        allow_auto_create_topics=False,
    )


def _connected(config: KafkaConfig, make: Callable[..., Client], **settings: object) -> Client:
    _keep_passwords_out_of_logs()
    connections = _Connections(config.bootstrap_servers)
    timeouts = {"request_timeout_ms": REQUEST_MS, "bootstrap_timeout_ms": CONNECT_MS}
    with refusals(config):
        try:
            client = make(**timeouts | config.settings() | settings, kafka_client=connections.net_client)
        except KafkaTimeoutError:
            last = f"; the last attempt: {_reason(connections.failure)}" if connections.failure else ""
            raise NoBroker(f"no Kafka broker answers at {config.bootstrap_servers}{last}") from None
    with _open_clients_lock:
        closed = {known for known in _open_clients if known._closed}
        _open_clients.difference_update(closed)
        _open_clients.add(client)
    return client


class _Connections:
    """How the connections of one client end. Failures are reported as waits until one succeeds."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self.failure: BaseException | None = None
        """The latest error, if no success has followed it."""

    def net_client(self, **settings: object) -> KafkaNetClient:
        """Create kafka-python's network client, patched and observed."""
        client = KafkaNetClient(**settings)
        observe_connections(client, self._refusal, self._failed, self._succeeded)
        keep_received_data(client)
        return client

    def _refusal(self) -> BaseException | None:
        final = isinstance(self.failure, REFUSED_CREDENTIALS) or (self.failure and _untrusted(self.failure))
        return self.failure if final else None

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        what = f"Kafka at {self._servers} accepts no connection"
        waits.failed(("kafka", self._servers), what, _reason(error))

    def _succeeded(self, _: object) -> None:
        self.failure = None
        waits.over(("kafka", self._servers))


@contextmanager
def clients_closed() -> Iterator[None]:
    """Close at the end of the block every client that this process has opened in it and not closed.

    Steps of a job that run in this process keep their clients until the process ends, and a client whose broker is
    gone tries to reconnect forever.
    """
    with _open_clients_lock:
        before = set(_open_clients)
    try:
        yield
    finally:
        with _open_clients_lock:
            opened = _open_clients - before
            _open_clients.difference_update(opened)
        for client in opened:
            client.close()  # type: ignore[no-untyped-call]


def _keep_passwords_out_of_logs() -> None:
    """Set kafka-python's log level to INFO at least: at DEBUG it logs its requests, including passwords."""
    logger = logging.getLogger("kafka")
    logger.setLevel(max(logging.INFO, logger.level))


def partitions(client: KafkaAdminClient, config: KafkaConfig, topics: Sequence[str]) -> dict[str, int]:
    """Return the number of partitions of each topic. Raises NoTopic if one does not exist, else as `refusals` does."""
    with refusals(config):
        descriptions = {topic["name"]: topic for topic in client.describe_topics(list(topics))}
    counts = {}
    for topic in topics:
        described = descriptions.get(topic, {})
        if described.get("error_code") == TopicAuthorizationFailedError.errno:
            raise UsageError(f"no permission on topic {topic} of {config.bootstrap_servers}")
        if not described.get("partitions"):
            raise NoTopic(f"there is no topic {topic} at {config.bootstrap_servers}; --create_topics creates it")
        counts[topic] = len(described["partitions"])
    return counts


NEW_PARTITIONS = 4
"""Partitions of a new topic, unless the caller asks for another number."""


def create_topics(client: KafkaAdminClient, config: KafkaConfig, topics: Mapping[str, int]) -> list[str]:
    """Create the topics that do not exist and wait until they are ready; return their names.

    `topics` maps a topic to its number of partitions. Raises as `refusals` does.
    """
    with refusals(config):
        existing = set(client.list_topics())
        missing = {name: {"num_partitions": count} for name, count in topics.items() if name not in existing}
        if missing:
            client.create_topics(missing, wait_for_metadata=True)
    return list(missing)


def topic_ids(client: KafkaAdminClient, config: KafkaConfig, topics: Sequence[str]) -> dict[str, str]:
    """Return the id of each topic, which a recreated topic does not share. Raises as `refusals` does."""
    with refusals(config):
        return {topic["name"]: str(topic.get("topic_id", "")) for topic in client.describe_topics(list(topics))}


def cluster_id(client: KafkaAdminClient, config: KafkaConfig) -> str:
    """Return the id of the cluster, which no other one shares. Raises as `refusals` does."""
    with refusals(config):
        return str(client.describe_cluster()["cluster_id"])


@contextmanager
def refusals(config: KafkaConfig) -> Iterator[None]:
    """Turn Kafka's errors within the block into errors of one line, without secrets.

    Raises NoBroker for an error that a retry may resolve (by Kafka's own classification), UsageError for any other.
    """
    servers = config.bootstrap_servers
    try:
        yield
    except REFUSED_CREDENTIALS as error:
        raise UsageError(f"Kafka at {servers} refuses the credentials of --kafka_config: {_reason(error)}") from None
    except GroupAuthorizationFailedError:
        raise UsageError(f"no permission on the consumer group at {servers}") from None
    except TopicAuthorizationFailedError as error:
        raise UsageError(f"no permission on a topic at {servers}: {_reason(error)}") from None
    except ClusterAuthorizationFailedError:
        raise UsageError(f"no permission on the cluster {servers}") from None
    except KafkaTimeoutError:
        raise NoBroker(f"no Kafka broker answers at {servers}") from None
    except KafkaError as error:
        if error.retriable and not _untrusted(error):
            raise NoBroker(f"Kafka at {servers} does not answer: {_reason(error)}") from None
        raise UsageError(f"Kafka at {servers} refuses: {_reason(error)}") from None


def _untrusted(error: BaseException) -> bool:
    """Return whether a certificate was not verified: kafka-python hides that error behind a KafkaConnectionError."""
    return isinstance(error.__context__, ssl.SSLCertVerificationError)


def _reason(error: BaseException) -> str:
    """Return the message of the error on one line, without the class names that kafka-python puts before it."""
    text = re.sub(r"^(\[Error -?\d+\]\s*)?(\w+Error(:\s*|$))*", "", " ".join(str(error).split()))
    return text or type(error).__name__.removesuffix("Error")
