"""How pytest-xdist spreads the suite over its workers: whole files, the slow ones first."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadFileScheduling

__all__ = ["FilesWithSharedServers", "pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

ONE_WORKER = "tests/airflow"
"""A folder whose files run in one worker, one after the other: they share an Airflow."""
FIRST = (
    "tests/airflow",
    "tests/e2e/test_flink_cluster.py",
    "tests/e2e/test_stream.py",
    "tests/e2e/test_crashes.py",
    "tests/e2e/test_printed_commands.py",
    "tests/e2e",
    "tests/containers",
    "tests/local",
)
"""What starts first: the files that take minutes. The quick tests come last, so that all workers end together."""


class FilesWithSharedServers(LoadFileScheduling):
    """Gives each worker a file at a time, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return ONE_WORKER if nodeid.startswith(f"{ONE_WORKER}/") else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FilesWithSharedServers:
    """Replace the scheduler that --dist names."""
    config.option.loadscopereorder = False  # which would put the files with the most tests first
    return FilesWithSharedServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files; a file's tests keep their order."""
    items.sort(key=lambda item: _place(PurePosixPath(item.nodeid.partition("::")[0])))


def _place(file: PurePosixPath) -> int:
    return next((place for place, first in enumerate(FIRST) if file.is_relative_to(first)), len(FIRST))
