"""Tests against real BigQuery and Cloud Storage: `make test-cloud PROJECT=… BUCKET=…`. A skip of them is no pass."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from connectors.retry import RetryPolicy
from tests.cloud.places import BUCKET, PROJECT, NoPlace, Place, emulated, place_of

WHERE, NOWHERE = pytest.StashKey[str](), pytest.StashKey[str]()
"""Where the session's tests ran, or why they did not."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Against an emulator a test of what it does not do must fail, and says so where it does not any more."""
    for item in items:
        if (differs := item.get_closest_marker("differs")) and emulated():
            row, raises = differs.args[0], differs.kwargs.get("raises", AssertionError)
            item.add_marker(
                pytest.mark.xfail(reason=f"docs/explanation/emulator.md: {row}", raises=raises, strict=True)
            )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if NOWHERE in session.config.stash and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if why := config.stash.get(NOWHERE, None):
        terminalreporter.write_sep("!", f"NOTHING WAS TESTED: {why}", red=True, bold=True)
    elif where := config.stash.get(WHERE, None):
        terminalreporter.write_sep("=", where)


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The project and the bucket that SHOP_TEST_PROJECT and SHOP_TEST_BUCKET name."""
    try:
        with place_of(os.environ) as found:
            whose = "an EMULATOR" if emulated() else "Google"
            request.config.stash[WHERE] = f"against {whose}: {PROJECT}={found.project} {BUCKET}={found.folder}"
            yield found
    except NoPlace as error:
        request.config.stash[NOWHERE] = str(error)
        pytest.skip(f"NOT RUN: {error}")


@pytest.fixture
def retry() -> RetryPolicy:
    """How long an append may take."""
    return RetryPolicy(deadline=20)
