"""No process outlives its test session: one that does makes the session fail, and is ended."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.marked import marked

__all__ = ["MARK", "no_process_is_left"]

ROOT = Path(__file__).parents[1]
MARK = "CONTRACT_PIPELINE_TEST_SESSION"
"""The variable that every process of a session has in its environment. Its value is the session's own."""
GRACE_SECONDS = 15.0
"""How long a process may take to end once its launcher has ended: see local/guard.py and local/watcher.py."""
TERMINATE_SECONDS = 10.0
"""How long a process may take to end after a SIGTERM, before it gets a SIGKILL."""
POLL_SECONDS = 0.1


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Fail at the end of the session if a process still runs that a test, or a process of a test, has started.

    A second process ends what is left, even if pytest itself is killed. With pytest-xdist each worker is a session.
    """
    value = secrets.token_hex(8)
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, value, str(TERMINATE_SECONDS)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    with guard:  # leaving the block closes the pipe and waits
        with pytest.MonkeyPatch.context() as environment:
            # This process started without the variable, and so did the guard: neither is marked.
            environment.setenv(MARK, value)
            yield
        left = _running_after(value, GRACE_SECONDS)
    if left:
        pytest.fail("left running: " + "; ".join(f"{pid}: {command}" for pid, command in sorted(left.items())), False)


def _running_after(value: str, seconds: float) -> dict[int, str]:
    """Wait until no process of the session runs, at most so long; return the command lines by pid that still run."""
    deadline = time.monotonic() + seconds
    while (left := marked(MARK, value)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _end_all(value: str, terminate_seconds: float) -> None:
    """End every process of the session, those that are started meanwhile included."""
    number = signal.SIGTERM
    while left := marked(MARK, value):
        for pid in left:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).send_signal(number)
        if _running_after(value, terminate_seconds):
            number = signal.SIGKILL


def main() -> None:
    """Wait until the session has ended, however it ends, then end its processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()  # the session alone holds the other end of the pipe
    _end_all(sys.argv[1], float(sys.argv[2]))


if __name__ == "__main__":
    main()
