"""Arguments that say where Kafka is, of the commands that are no pipelines."""

from __future__ import annotations

import argparse
import os

from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig

__all__ = ["add_kafka", "kafka_config", "kafka_servers"]


def add_kafka(parser: argparse.ArgumentParser) -> None:
    """Add --bootstrap_servers and --kafka_config; the command has --local, too."""
    add = parser.add_argument
    add("--bootstrap_servers", help="HOST:PORT,… of Kafka; default with --local: the broker of this machine")
    add("--kafka_config", help="file of Java client properties: TLS, SASL; secrets as env:NAME, file:PATH, secret:…")


def kafka_servers(arguments: argparse.Namespace) -> str | None:
    """Return HOST:PORT,… as given, else those of the local cloud that runs now; None without --local."""
    servers: str | None = arguments.bootstrap_servers
    return servers or (os.environ["KAFKA_BOOTSTRAP_SERVERS"] if arguments.local else None)


def kafka_config(arguments: argparse.Namespace, storage: Storage) -> KafkaConfig:
    """Return how to connect. Raises UsageError if nothing says where, or the file cannot be read."""
    return KafkaConfig.load(kafka_servers(arguments), arguments.kafka_config, storage.read)
