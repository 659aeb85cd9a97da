"""Kafka's Python clients, made in one place, and what they refuse, said in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from connectors.kafka_config import KafkaConfig
from contracts.errors import Misuse

__all__ = ["admin", "consumer", "create_topics", "partitions", "producer", "refusals"]

CONNECT_MS = 15_000
"""How long a server may take to answer at all. A refusal is said within 30 s of the start, so it is half of that."""
REQUEST_MS = 10_000


def admin(config: KafkaConfig) -> KafkaAdminClient:
    """A connected client for topics, groups and offsets. Raises Misuse; see refusals."""
    with refusals(config):
        return KafkaAdminClient(**_settings(config))


def consumer(config: KafkaConfig, group: str | None = None) -> KafkaConsumer:
    """A connected client that reads, or commits for `group`, what it is told to: it subscribes to nothing and commits
    nothing by itself. Raises Misuse; see refusals.
    """
    with refusals(config):
        return KafkaConsumer(
            **_settings(config), group_id=group, enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="earliest", allow_auto_create_topics=False,
        )  # fmt: skip


def producer(config: KafkaConfig) -> KafkaProducer:
    """A connected client that sends: a record once, and told when all replicas have it. Raises Misuse; see refusals."""
    with refusals(config):
        return KafkaProducer(
            **_settings(config), acks="all", enable_idempotence=True, linger_ms=20, batch_size=1 << 17,
            max_block_ms=CONNECT_MS, allow_auto_create_topics=False,
        )  # fmt: skip


def _settings(config: KafkaConfig) -> dict[str, object]:
    return {"request_timeout_ms": REQUEST_MS, "bootstrap_timeout_ms": CONNECT_MS} | config.settings()


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
    except (SaslAuthenticationFailedError, UnsupportedSaslMechanismError) as error:
        raise Misuse(f"Kafka at {servers} refuses the credentials of --kafka_config: {_said(error)}") from None
    except GroupAuthorizationFailedError:
        raise Misuse(f"no permission on the consumer group at {servers}") from None
    except TopicAuthorizationFailedError as error:
        raise Misuse(f"no permission on a topic at {servers}: {_said(error)}") from None
    except ClusterAuthorizationFailedError:
        raise Misuse(f"no permission on the cluster {servers}") from None
    except KafkaTimeoutError:
        raise Misuse(f"no Kafka broker answers at {servers}") from None
    except KafkaError as error:
        raise Misuse(f"Kafka at {servers} refuses: {_said(error)}") from None


def _said(error: KafkaError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
