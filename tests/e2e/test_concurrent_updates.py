"""BigQuery refuses an UPDATE that it cannot put in line with another one, which the local one never does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.specs import spec_of
from contracts.bookkeeping import LEASES
from local.services import Endpoints
from tests.e2e.proxies import Answer, Proxy

pytestmark = pytest.mark.e2e
MESSAGE = "Could not serialize access to table local-project:d.leases due to concurrent update"


class Colliding(Proxy):
    """Refuses the first UPDATE as BigQuery does."""

    collided = False

    def answer(self, request: str, body: bytes, forward: Any) -> Answer:
        if not (request.startswith("POST ") and b"UPDATE `" in body and not self.collided):
            found = forward()
            assert isinstance(found, Answer)
            return found
        self.collided = True
        error = {"code": 400, "message": MESSAGE, "errors": [{"reason": "invalidQuery", "message": MESSAGE}]}
        return Answer(400, [("Content-Type", "application/json")], json.dumps({"error": error}).encode())


@pytest.fixture
def dataset(local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> str:
    """A dataset of the test's own with the table of leases."""
    warehouse, name = Warehouse("local-project", "US"), str(request.node.name)
    warehouse.ensure_dataset(name)
    warehouse.ensure_table(spec_of(LEASES, name))
    return name


def test_a_lease_is_asked_for_again(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Colliding(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        leases = Leases(Warehouse("local-project", "US"), dataset)
        assert leases.take(["d.t"], "run", "token") is None
        assert proxy.collided
        assert [holder.token for holder in leases.holders(["d.t"])] == ["token"]
