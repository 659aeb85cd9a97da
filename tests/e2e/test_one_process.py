"""One process runs real pipelines one after the other: none meets what another one has left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.services import Endpoints
from tests.e2e.streams import Feed
from tests.engines import expansion_options
from tests.in_process import Launch, launch
from tests.process_state import process_state

pytestmark = pytest.mark.e2e

CUSTOMERS = "customer_id,email\nc1,c1@example.com\nc2,c2@example.com\nc1,c1@example.com\nc3,nobody\n"
BATCH = {"read": 4, "written": 2, "duplicate": 1, "dead_letter": 1}


class Site:
    """The launcher in this process, on the module's cloud."""

    def __init__(self, cloud: tuple[Path, Endpoints], folder: Path) -> None:
        self.directory, self.servers = cloud[0], cloud[1].environment()["KAFKA_BOOTSTRAP_SERVERS"]
        self.folder = folder

    def launch(self, *argv: str) -> Launch:
        """Run a command, which has to leave the process as it is."""
        before = process_state()
        ended = launch([*argv, "--local", f"--local_dir={self.directory}"])
        assert process_state() == before
        return ended

    def batch(self, runner: str, dataset: str) -> dict[str, Any]:
        """The counts of a batch over CUSTOMERS."""
        (self.folder / "customers.csv").write_text(CUSTOMERS)
        return self._counts(
            "customers",
            *("batch", f"--runner={runner}", f"--input={self.folder}", f"--dataset={dataset}"),
            "--max_dead_letter_ratio=1",
        )

    def stream(self, topic: str, *engines: str) -> dict[str, Any]:
        """The counts of a stream that has read its topic."""
        return self._counts(
            "user_events_streaming",
            *("stream", "--runner=PrismRunner", f"--topic={topic}=user_events_streaming", f"--group_id={topic}"),
            *(f"--dataset={topic}", f"--operations_dataset={topic}_operations", "--stop_when_idle=1"),
            *engines,
        )

    def _counts(self, table: str, *argv: str) -> dict[str, Any]:
        summary = self.folder / "summary.json"
        ended = self.launch(*argv, f"--summary={summary}")
        assert ended.code == 0, ended.stderr
        counts = json.loads(summary.read_text())["tables"][table]
        return {door: counts[door] for door in BATCH}


@pytest.fixture
def site(kafka_cloud: tuple[Path, Endpoints], tmp_path: Path) -> Site:
    """The launcher on the module's cloud."""
    return Site(kafka_cloud, tmp_path)


def test_batches_and_streams_in_one_process(site: Site) -> None:
    feeds = [Feed(site.servers, f"shared{number}", partitions=1) for number in range(2)]
    for feed in feeds:
        feed.send(100)
    for number, feed in enumerate(feeds):
        assert site.batch("DirectRunner", f"direct{number}") == BATCH
        counts = site.stream(feed.topic)  # by engines of its own; the streams that follow use those that tests share
        assert (counts["read"], counts["written"]) == (100, len(feed.clean))
        assert site.launch("query", "SELECT").code == 2
        assert site.batch("PrismRunner", f"prism{number}") == BATCH
        assert site.stream(feed.topic, *expansion_options())["read"] == 0  # another run, which has nothing left to read
