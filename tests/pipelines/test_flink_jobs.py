"""What a Flink cluster answers instead of a result."""

from __future__ import annotations

import socket

import pytest

from contracts.errors import ReportedError, Unavailable, UsageError
from pipelines.engines.flink_jobs import FlinkJobs
from tests.e2e.proxies import Answer, Proxy

pytestmark = pytest.mark.e2e


class Refusing(Proxy):
    """Answers with one status."""

    def __init__(self, status: int) -> None:
        self._status = status
        super().__init__("http://127.0.0.1:1")

    def answer(self, request: str, body: bytes, forward: object) -> Answer:
        return Answer(self._status, [], b"")


@pytest.mark.parametrize(("status", "meaning"), [(503, Unavailable), (500, Unavailable), (404, UsageError)])
def test_a_cluster_that_refuses(status: int, meaning: type[ReportedError]) -> None:
    with Refusing(status) as cluster, pytest.raises(meaning) as error:
        FlinkJobs(cluster.address).find("job")
    assert str(error.value) == f"--flink_master: {cluster.address} answers {status} to /jobs/overview"


def test_a_cluster_that_is_away() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(Unavailable, match=f"^--flink_master: no Flink answers at http://{address}$"):
        FlinkJobs(address).find("job")
