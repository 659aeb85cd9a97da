"""What Google's REST clients retry in silence is known, and an error that stays is the end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from requests import Session
from requests.exceptions import RequestException

from connectors.google.clients import bigquery_client
from connectors.google.watched_http import watch
from connectors.retry import Unrecoverable
from tests.waits_for_google import waits_for_google
from transforms import waits


class Refusing(BaseHTTPRequestHandler):
    """Answers with these statuses in turn, and with the last one from then on."""

    statuses: ClassVar[list[int]] = []
    seen: ClassVar[list[list[str]]] = []
    """What was said to be waited for when a request came."""

    def do_GET(self) -> None:
        self.seen.append(waits_for_google())
        status = self.statuses[min(len(self.seen), len(self.statuses)) - 1]
        reason = {
            "error": {
                "message": "the catalog\nis odd",
                "errors": [{"reason": "notFound" if status == 404 else "internalError"}],
            }
        }
        table = {"tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"}}
        body = json.dumps(table if status == 200 else reason).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def no_waits_of_others() -> Iterator[None]:
    """What other tests in this process have waited for is not seen here."""
    with waits.observed():
        yield


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What a server that stands for BigQuery answers; set it."""
    monkeypatch.setattr(waits, "SAY_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(Refusing, "statuses", [])
    monkeypatch.setattr(Refusing, "seen", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"127.0.0.1:{server.server_port}")
        try:
            yield Refusing.statuses
        finally:
            server.shutdown()
            thread.join()


WHAT = "BigQuery refuses GET /bigquery/v2/projects/p/datasets/d/tables/t"


def test_a_refusal_that_passes_is_said_while_it_lasts(statuses: list[int]) -> None:
    statuses += [503, 500, 200]
    assert bigquery_client("p").get_table("p.d.t").table_id == "t"
    assert Refusing.seen[0] == []
    assert Refusing.seen[1] == [f"{WHAT} (1 try in 0 s): 503 the catalog is odd"]
    assert Refusing.seen[2][0].startswith(f"{WHAT} (2 tries in ")
    assert Refusing.seen[2][0].endswith(" s): 500 the catalog is odd")
    assert waits_for_google() == []


def test_the_same_internal_error_for_too_long_is_not_retried(statuses: list[int]) -> None:
    statuses += [500]
    client = bigquery_client("p")
    watch(client._http, "BigQuery", same_error=0.1)
    with pytest.raises(Unrecoverable) as caught:
        client.get_table("p.d.t")
    assert str(caught.value) == f"{WHAT}, for more than 0.1 s: 500 the catalog is odd"
    assert 2 <= len(Refusing.seen) <= 3


def test_the_address_of_an_upload_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who knows it may continue the upload."""
    monkeypatch.setattr(waits, "SAY_AFTER_SECONDS", 0.0)
    session = Session()
    watch(session, "Cloud Storage")
    with pytest.raises(RequestException):
        session.put("http://127.0.0.1:1/upload/x?upload_id=secret%20one")
    (line,) = waits_for_google()
    assert line.startswith("Cloud Storage refuses PUT /upload/x (1 try in 0 s): ")
    assert "secret" not in line


def test_an_answer_that_is_no_is_no_wait(statuses: list[int]) -> None:
    statuses += [404]
    with pytest.raises(Exception, match="the catalog"):
        bigquery_client("p").get_table("p.d.t")
    assert len(Refusing.seen) == 1
    assert waits_for_google() == []
