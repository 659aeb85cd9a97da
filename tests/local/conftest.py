"""A local cloud for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from local.services import Endpoints, running
from tests.local.clients import Appender, bigquery_client


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """GCS and BigQuery, for all tests that neither stop nor break them."""
    with running(tmp_path_factory.mktemp("cloud"), ["gcs", "bigquery"]) as endpoints:
        yield endpoints


@pytest.fixture
def client(cloud: Endpoints) -> bigquery.Client:
    """A client of the shared warehouse."""
    return bigquery_client(cloud)


@pytest.fixture
def dataset(client: bigquery.Client, request: pytest.FixtureRequest) -> str:
    """A dataset of the test's own."""
    name: str = request.node.name.split("[")[0]
    client.create_dataset(name)
    return name


@pytest.fixture
def appender(cloud: Endpoints) -> Iterator[Callable[..., Appender]]:
    """Makes Appenders and closes them."""
    made: list[Appender] = []

    def make(table: str, kind: types.WriteStream.Type = types.WriteStream.Type.COMMITTED) -> Appender:
        made.append(Appender(cloud.environment()["BIGQUERY_STORAGE_EMULATOR_HOST"], table, kind))
        return made[-1]

    yield make
    for one in made:
        one.close()
