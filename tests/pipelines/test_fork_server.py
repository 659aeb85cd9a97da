"""Worker processes: forked where that is safe, reached by their pipes, gone with their server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import psutil
import pytest

from pipelines.engines.fork_server import fork_server
from tests.pipelines.forking import echo


@pytest.mark.parametrize("launcher", ["alone", "threads"])
def test_workers_answer_and_end(launcher: str) -> None:
    command = [sys.executable, "-m", "tests.pipelines.forking", launcher]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    (first, one), (second, two), (again, three) = seen["answers"]
    assert (one, two, three) == ("message 0", "message 1", "still there")
    assert first != second == again
    assert seen["why"] == "with exit code 7"
    assert not psutil.pid_exists(first)
    assert not psutil.pid_exists(second)


def test_a_process_whose_threads_a_fork_would_lose_starts_nothing_until_workers_are_needed() -> None:
    pl.DataFrame({"n": [1, 2]}).group_by("n").len()  # polars' pool runs from now on
    before = psutil.Process().children()
    with fork_server(2, echo) as server:
        assert server.most == 2
        assert psutil.Process().children() == before
