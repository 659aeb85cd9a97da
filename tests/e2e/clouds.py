"""Local clouds for tests, and the launcher on them.

Each process of the test suite keeps one cloud, which a test module finds empty. A module that needs a service with
settings of its own, or a Flink cluster, starts its own by `cloud_in`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from kafka.admin import KafkaAdminClient

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from local import services
from tests import launching

__all__ = ["ROOT", "Cloud", "SharedCloud", "cloud_in"]

ROOT = Path(__file__).parents[2]


class Cloud:
    """A local cloud that stays up for a test module, and the launcher on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def launch(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run launcher.py and hold it to its exit code. The demo may build Prism first, which takes minutes."""
        done = launching.run([*arguments, "--local_dir", str(self.directory)], timeout=900)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def batch(self, source: Path | str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a batch over a folder; its summary."""
        summary = self.directory / "summary.json"
        summary.unlink(missing_ok=True)
        self.launch(
            "batch",
            "--runner=DirectRunner",
            "--local",
            f"--input={source}",
            f"--summary={summary}",
            *arguments,
            code=code,
        )
        found = json.loads(summary.read_text())
        assert isinstance(found, dict)
        return found

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask the warehouse."""
        return Warehouse("local-project", "US").query(sql)


class SharedCloud:
    """A cloud that all modules of a session use, one after the other. Its services start when one first needs them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def named(self, names: Sequence[str]) -> Iterator[services.Endpoints]:
        """Start what does not run of the services `names`, and name them alone in the environment."""
        found = services.up(self.directory, names)
        endpoints = services.Endpoints(found.directory, {name: found.services[name] for name in names})
        with _environment(endpoints):
            yield endpoints

    def empty(self) -> None:
        """Delete every dataset, bucket and topic of the services that run."""
        running = services.status(self.directory)
        with _environment(running):
            if "bigquery" in running.services:
                _delete_datasets()
            if "gcs" in running.services:
                _delete_buckets()
            if "kafka" in running.services:
                _delete_topics(running.environment()["KAFKA_BOOTSTRAP_SERVERS"])

    def stop(self) -> None:
        """Stop the services."""
        services.down(self.directory)


def _delete_datasets() -> None:
    client = Warehouse("local-project", "US").client
    for dataset in client.list_datasets():
        client.delete_dataset(dataset.reference, delete_contents=True, not_found_ok=True)


def _delete_buckets() -> None:
    client = Storage("local-project").client
    for bucket in client.list_buckets():
        for blob in client.list_blobs(bucket.name):
            with suppress(NotFound):
                blob.delete()
        bucket.delete()


def _delete_topics(servers: str) -> None:
    """With a topic, Kafka forgets the offsets that groups have committed for it."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        if topics := [topic for topic in admin.list_topics() if not topic.startswith("__")]:
            admin.delete_topics(topics)
    finally:
        admin.close()


@contextmanager
def cloud_in(directory: Path, names: Sequence[str] = ("gcs", "bigquery")) -> Iterator[services.Endpoints]:
    """Run services with their data in `directory` while the block lasts, named in the environment."""
    endpoints = services.up(directory, names)
    try:
        with _environment(endpoints):
            yield endpoints
    finally:
        services.down(directory)


@contextmanager
def _environment(endpoints: services.Endpoints) -> Iterator[None]:
    """Set the variables by which clients find the services."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in endpoints.environment().items():
            environment.setenv(name, value)
        yield
