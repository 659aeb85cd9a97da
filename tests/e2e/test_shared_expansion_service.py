"""The expansion service that launchers share: it listens on this machine only, and ends with its block.

That no launcher meets what a killed one has left there is held by the tests that kill streams and start others, because
all of them share the service of tests/engines.py: test_stream.py::test_downtime_longer_than_the_horizon and its
neighbours, and on Flink test_stream_flink.py::test_flink_and_prism_make_the_same_of_a_topic.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from local.engines import shared_expansion_service
from tests.e2e.listening import listeners

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def services() -> set[int]:
    """Return the processes that are shared expansion services; other tests may have one."""
    return {listener.pid for listener in listeners() if "alsoStartLoopbackWorker" in listener.command}


def test_it_listens_here_only_and_ends(tmp_path: Path) -> None:
    before = services()
    with shared_expansion_service(tmp_path) as options:
        assert len(options) == 1
        assert {listener for listener in listeners() if not listener.loopback} == set()
        (mine,) = services() - before
        assert psutil.Process(mine).is_running()
        assert os.listdir(tmp_path) == ["expansion-service.log"]
    assert services() == before
