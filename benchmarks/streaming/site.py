"""The servers of a benchmark, its topics, and the processes of its contenders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from connectors.bigquery.warehouse import Warehouse
from connectors.kafka.client import admin, create_topics
from connectors.kafka.config import KafkaConfig
from local import services
from local.service import PROJECT

__all__ = ["Site", "site"]

PARTITIONS = 4


@dataclass
class Site:
    """Running servers, and how often each contender has run on them."""

    console: Console
    endpoints: services.Endpoints
    _runs: int = 0
    _topics: dict[str, dict[str, int]] = field(default_factory=dict)

    def topic(self, name: str, events: int) -> dict[str, int]:
        """Fill a topic with events, once; return how many `keys` and `refused` records it has."""
        if name not in self._topics:
            self._make(name)
            self._topics[name] = self.call("benchmarks.streaming.feed", self._servers, name, str(events))
        return self._topics[name]

    @contextmanager
    def live_topic(self, events: int, rate: float) -> Iterator[str]:
        """A new topic that is filled with `rate` events per second while the block lasts."""
        name = self.unique("live")
        self._make(name)
        arguments = [sys.executable, "-m", "benchmarks.streaming.feed", self._servers, name, str(events), str(rate)]
        process = subprocess.Popen(arguments, env=self._environment, stdout=subprocess.DEVNULL)
        try:
            yield name
        finally:
            process.terminate()
            process.wait()

    def measure(self, contender: str, topic: str, records: int, seconds: float, **more: Any) -> dict[str, Any]:
        """Run a contender once, in a separate process; return its figures and its `name`."""
        name = more.pop("name", None) or self.unique(contender)
        task = {"name": name, "topic": topic, "records": records, "seconds": seconds, **more}
        return {"name": name, **self.call("benchmarks.streaming.measure", contender, json.dumps(task))}

    def call(self, module: str, *arguments: str) -> dict[str, Any]:
        """Run a module; return the JSON of its last line, {} without output. Raises RuntimeError if it fails."""
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, env=self._environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:])} failed")
        lines = done.stdout.splitlines()
        found = json.loads(lines[-1]) if lines else {}
        assert isinstance(found, dict)
        return found

    def unique(self, what: str) -> str:
        """Return a new name."""
        self._runs += 1
        return f"{what}_{self._runs}"

    def count(self, sql: str) -> int:
        """Return the number that a query returns."""
        return int(next(iter(Warehouse(PROJECT, "US").query(sql)[0].values())))

    @property
    def _servers(self) -> str:
        return self._environment["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.endpoints.environment()}

    def _make(self, topic: str) -> None:
        config = KafkaConfig(self._servers)
        with admin(config) as client:
            create_topics(client, config, {topic: PARTITIONS})


@contextmanager
def site(console: Console, directory: Path | None) -> Iterator[Site]:
    """Run the servers in `directory`, or in a temporary directory, while the block lasts."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as temporary,
        services.running(directory or Path(temporary), ("gcs", "bigquery", "kafka")) as endpoints,
    ):
        os.environ.update(endpoints.environment())
        yield Site(console, endpoints)
