"""Settings of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from commands.session import SERVICES, STREAM_SERVICES
from local.services import Endpoints
from tests.e2e.clouds import SharedCloud
from tests.engines import stop_expansion_service
from tests.launching import stop_server
from tests.leftovers import no_process_is_left
from tests.workers import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = ["no_process_is_left", "pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

# A busy machine is no defect: examples are not timed, and CI is not stopped by a slow one.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# A Java program of a test lives for seconds: it never earns back what the optimizing compiler and the other collectors
# cost, which is half of its CPU. (The programs say on stderr that they have picked this up.)
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


@pytest.fixture(scope="session", autouse=True)
def launching_server_ends(no_process_is_left: None) -> Iterator[None]:
    """The server that forks launchers and the expansion service end before the session looks for what is left."""
    yield
    stop_server()
    stop_expansion_service()


@pytest.fixture(scope="session")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory, no_process_is_left: None) -> Iterator[SharedCloud]:
    """The cloud of this process: each worker of pytest-xdist has its own."""
    cloud = SharedCloud(tmp_path_factory.mktemp("shared_cloud"))
    yield cloud
    cloud.stop()


@pytest.fixture(scope="module")
def empty_cloud(shared_cloud: SharedCloud) -> SharedCloud:
    """The shared cloud without a dataset, bucket or topic of another module."""
    shared_cloud.empty()
    return shared_cloud


@pytest.fixture(scope="module")
def local_cloud(empty_cloud: SharedCloud) -> Iterator[tuple[Path, Endpoints]]:
    """An empty cloud for a test module: its directory, and the endpoints of Cloud Storage and BigQuery."""
    with empty_cloud.named(SERVICES) as endpoints:
        yield empty_cloud.directory, endpoints


@pytest.fixture(scope="module")
def kafka_cloud(empty_cloud: SharedCloud) -> Iterator[tuple[Path, Endpoints]]:
    """The same cloud with Kafka."""
    with empty_cloud.named(STREAM_SERVICES) as endpoints:
        yield empty_cloud.directory, endpoints
