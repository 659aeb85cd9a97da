"""Wait for what another process or thread does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from subprocess import Popen
from typing import TypeVar

from tests.launching import Launched

__all__ = ["wait_until"]

T = TypeVar("T")
PAUSE_GROWTH, LONGEST_PAUSE_SECONDS = 1.3, 1.0
"""A question to the local BigQuery costs 50 ms of CPU: who waits for long asks seldom."""


def wait_until(
    condition: Callable[[], T], seconds: float = 120.0, process: Launched | Popen[str] | None = None, pause: float = 0.1
) -> T:
    """Poll until `condition()` is true, and return its value; `pause` is the first one, and they grow to a second.

    Fails after `seconds`, or as soon as `process` has ended, with what it printed. A process that still runs by then is
    killed, with its group if it leads one.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert process is None or process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            raise AssertionError(f"not true after {seconds:g} s{_said(process)}")
        time.sleep(pause)
        pause = min(PAUSE_GROWTH * pause, max(pause, LONGEST_PAUSE_SECONDS))
    return value


def _said(process: Launched | Popen[str] | None) -> str:
    """Kill the process, and return what it printed."""
    if process is None:
        return ""
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    output, errors = process.communicate()
    return f"; the process printed:\n{output}\n{errors}"
