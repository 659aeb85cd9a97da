"""What the end-to-end tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.e2e.streams import Feed


@pytest.fixture(scope="module")
def servers(kafka_cloud: tuple[Path, Endpoints]) -> str:
    """Kafka's bootstrap servers; the topic `events`, of one partition, has 50 records."""
    found = kafka_cloud[1].environment()["KAFKA_BOOTSTRAP_SERVERS"]
    Feed(found, "events", partitions=1).send(50)
    return found


@pytest.fixture(scope="module")
def cloud(local_cloud: tuple[Path, Endpoints]) -> Cloud:
    """The launcher on the module's cloud."""
    return Cloud(local_cloud[0])
