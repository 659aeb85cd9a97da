"""Holds a test session to leaving no process behind."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from tests.marked import marked

__all__ = ["no_process_is_left"]

MARK = "SHOP_PIPELINE_TEST_SESSION"
GRACE_SECONDS = 15.0
"""What ends because its launcher has ended may take so long: see local/guard.py and local/watcher.py."""
POLL_SECONDS = 0.1


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """The session fails at its end if a process runs that a test has started, or that such a one has started."""
    with pytest.MonkeyPatch.context() as environment:
        value = secrets.token_hex(8)
        environment.setenv(MARK, value)  # of what is started from now on; not of this process, which was started before
        yield
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := marked(MARK, value)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if left:
        pytest.fail("left running: " + "; ".join(f"{pid}: {command}" for pid, command in sorted(left.items())), False)
