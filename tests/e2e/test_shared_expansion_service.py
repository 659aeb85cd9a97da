"""One expansion service for many launchers: no launcher meets what the launcher before it has left there."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.engines import shared_expansion_service
from local.services import Endpoints
from tests.e2e.listening import listeners
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def services() -> set[int]:
    """Return the processes that are shared expansion services; other tests may have one."""
    return {listener.pid for listener in listeners() if "alsoStartLoopbackWorker" in listener.command}


def test_streams_that_follow_a_killed_one_are_exact(kafka_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    before = services()
    with shared_expansion_service(tmp_path) as options:
        prism, flink, other = (
            StreamSite(*kafka_cloud, name, runner=runner, expansion=options)
            for name, runner in (("shared", "PrismRunner"), ("shared", "FlinkRunner"), ("other", "PrismRunner"))
        )
        flink.starts = 10  # a separate summary
        feed = prism.feed()
        feed.send(3_000)
        killed = prism.start()
        prism.written_by(killed)
        killed.kill()
        for site in (prism, flink):
            feed.send(500)
            site.start("--stop_when_idle=2").finish(300)
            site.check(feed)
        second_feed = other.feed()
        second_feed.send(500)
        other.start("--stop_when_idle=2").finish(300)
        other.check(second_feed)
        assert {listener for listener in listeners() if not listener.loopback} == set()
        assert services() > before
    assert services() == before
