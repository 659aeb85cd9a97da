"""Kafka to BigQuery with the real servers: exact, also when the stream is killed, again and again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.group_offsets import GroupOffsets
from connectors.kafka_config import KafkaConfig
from local.services import Endpoints
from tests.e2e.clouds import cloud_in
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
KILLS = 10
EVENTS = 50_000


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoints]]:
    """GCS, BigQuery and Kafka."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory, ("gcs", "bigquery", "kafka")) as endpoints:
        yield directory, endpoints


def site(cloud: tuple[Path, Endpoints], name: str, **settings: str) -> StreamSite:
    """A stream of its own in the cloud."""
    return StreamSite(*cloud, name, **settings)


def lag(stream: StreamSite) -> int:
    """Offsets that the stream's group has not committed."""
    offsets = GroupOffsets(KafkaConfig(stream.servers), stream.name)
    try:
        sources = offsets.sources([stream.name])
        committed, ends = offsets.committed(sources), offsets.ends(sources)
        return sum(ends[source] - (committed[source] or 0) for source in sources)
    finally:
        offsets.close()


def test_every_event_once(cloud: tuple[Path, Endpoints]) -> None:
    stream = site(cloud, "once")
    feed = stream.feed()
    feed.send(5_000)
    summary = stream.start("--stop_when_idle=1").finish()
    stream.check(feed)
    counts = summary["tables"]["user_events_streaming"]
    assert (summary["state"], counts["read"], counts["written"]) == ("done", 5_000, len(feed.clean))
    assert set(summary["lag"].values()) == {0}
    assert summary["latency_ms"]["p99"] >= summary["latency_ms"]["p50"] > 0
    # Sent again they are duplicates, also for the next start, which knows them from the table alone.
    again = stream.feed()
    again.send(5_000)
    total = stream.start("--stop_when_idle=1").finish()["tables"]["user_events_streaming"]
    assert (total["read"], total["written"]) == (10_000, len(feed.clean))


def test_killed_ten_times_while_events_flow(cloud: tuple[Path, Endpoints]) -> None:
    stream = site(cloud, "killed")
    feed = stream.feed()
    chance = random.Random()
    with feed.sending(EVENTS):
        for kill in range(KILLS):
            feed.rate = (EVENTS - feed.sent) / (60 * (KILLS - kill + 1))
            start = stream.start()
            assert stream.written_by(start) > 0
            time.sleep(chance.random() * 3)
            start.kill()
            assert feed.sent < EVENTS
            assert lag(stream) > 0
    stream.start("--stop_when_idle=2").finish()
    stream.check(feed)
    assert lag(stream) == 0
