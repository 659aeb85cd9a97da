"""A service that does not answer is waited for, with a message and a limit."""

from __future__ import annotations

import re
import socket

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.google.errors import reported
from contracts.errors import Unavailable
from pipelines.runs import availability
from pipelines.runs.availability import wait_for_bigquery, wait_for_storage
from tests.e2e.proxies import Answer, Proxy

pytestmark = pytest.mark.e2e


class Scripted(Proxy):
    """Answers with these statuses in turn, then always with the last of them."""

    def __init__(self, *statuses: int) -> None:
        self.left, self.asked = list(statuses), 0
        super().__init__("http://127.0.0.1:1")

    def answer(self, request: str, body: bytes, forward: object) -> Answer:
        self.asked += 1
        status = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return Answer(
            status, [("Content-Type", "application/json")], b'{"error": {"message": "not now", "errors": []}}'
        )


@pytest.mark.parametrize("last", [404, 403])
def test_a_service_that_answers_again(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    for service, variable in (("BigQuery", "BIGQUERY_EMULATOR_HOST"), ("Cloud Storage", "STORAGE_EMULATOR_HOST")):
        said: list[str] = []
        with Scripted(503, 429, last) as server:
            monkeypatch.setenv(variable, server.address)
            if service == "BigQuery":
                wait_for_bigquery(Warehouse("p", "US"), "d", said.append)
            else:
                wait_for_storage(Storage("p"), "gs://b/processed", said.append)
            assert server.asked == 3
        assert len(said) == 2
        assert re.fullmatch(rf"{service}: Google does not answer \(503\): .*not now; asking again for 30 s", said[0])


def test_a_service_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "PATIENCE_SECONDS", 0.5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", address)
    said: list[str] = []
    with pytest.raises(Exception, match="exceeded") as error:
        wait_for_bigquery(Warehouse("p", "US"), "d", said.append)
    found = reported(error.value)
    assert (type(found), str(found)) == (Unavailable, f"no answer from {address}: Connection refused")
    assert said[0] == f"BigQuery: {found}; asking again for 0.5 s"


def test_a_local_folder_needs_no_service() -> None:
    wait_for_storage(Storage("p"), "/nowhere", pytest.fail)
