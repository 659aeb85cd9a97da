"""The stream on Flink: the same as on Prism, from the same topic, and as exact when it is killed or stopped."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from local.services import Endpoints
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def what_became_of(stream: StreamSite) -> dict[str, list[dict[str, Any]]]:
    """What must not depend on the runner: keys, dead letters, and the ledger's totals by partition."""
    return {
        "keys": stream.rows("SELECT event_id FROM {data}.user_events_streaming ORDER BY event_id"),
        "dead letters": stream.rows(
            "SELECT source, position, error_code, raw FROM {operations}.dead_letters ORDER BY source, position"
        ),
        "totals": stream.rows(
            "SELECT source, MIN(first_offset) AS first_offset, MAX(last_offset) AS last_offset, SUM(`read`) AS `read`,"
            " SUM(written) AS written, SUM(duplicate) AS duplicate, SUM(dead_letter) AS dead_letter"
            " FROM {operations}.ledger_current WHERE kind = 'offsets' GROUP BY source ORDER BY source"
        ),
    }


def test_flink_and_prism_make_the_same_of_a_topic(kafka_cloud: tuple[Path, Endpoints]) -> None:
    prism = StreamSite(*kafka_cloud, "prism", topic="same")
    flink = StreamSite(*kafka_cloud, "flink", topic="same", runner="FlinkRunner")
    feed = prism.feed()
    feed.send(10_000)
    for stream in (prism, flink):
        assert stream.start("--stop_when_idle=2").finish(300)["state"] == "done"
        stream.check(feed)
    assert what_became_of(flink) == what_became_of(prism)


def test_flink_killed_and_stopped_while_events_flow(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = StreamSite(*kafka_cloud, "flow", runner="FlinkRunner", expansion=())
    feed = stream.feed()
    with feed.sending(30_000):
        feed.rate = 300
        start = stream.start()
        assert stream.written_by(start, 300) > 0
        start.kill()
        assert feed.sent < 30_000
        start = stream.start()
        assert stream.written_by(start, 300) > 0
        start.process.send_signal(signal.SIGTERM)
        stopped = start.finish(120)
        assert stopped["state"] == "done"
    done = stream.start("--stop_when_idle=2").finish(300)
    stream.check(feed)
    # The run's ledger has each record once: none of those of the start that was stopped was read again.
    assert done["tables"]["user_events_streaming"]["read"] == feed.sent
