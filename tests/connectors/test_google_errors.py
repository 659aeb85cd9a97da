"""What the errors of Google's clients mean: the clients raise them themselves, where a server is at hand."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud import bigquery, storage
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import ChunkedEncodingError, SSLError

from connectors.google.errors import reported
from connectors.retry import DeadlineExceeded
from contracts.errors import Conflict, ReportedError, Unavailable, UsageError
from tests.connectors.certificates import Authority

Meaning = type[ReportedError]


def raised(call: Callable[[], object]) -> ReportedError:
    """What the error of a call is reported as."""
    with pytest.raises(Exception) as error:  # noqa: PT011 - the clients' own, whatever they are
        call()
    found = reported(error.value)
    assert found is not None, error.value
    assert "\n" not in str(found)
    return found


def bigquery_at(address: str) -> bigquery.Client:
    return bigquery.Client(
        project="p", credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=address)
    )


@pytest.fixture
def nobody() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


class Answers(http.server.ThreadingHTTPServer):
    """Answers every request with `status` and `reason`, as Google does."""

    daemon_threads = True
    status, reason = 200, ""


@pytest.fixture(scope="module")
def google() -> Iterator[Answers]:
    """A server that refuses as a test says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert isinstance(self.server, Answers)
            status, reason = self.server.status, self.server.reason
            error = {"code": status, "message": "said\nso", "errors": [{"reason": reason, "message": "said so"}]}
            body = json.dumps({"error": error}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    with Answers(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "reason", "meaning"),
    [
        (400, "invalidQuery", UsageError),
        (401, "authError", UsageError),
        (403, "accessDenied", UsageError),
        (403, "rateLimitExceeded", Unavailable),
        (403, "quotaExceeded", Unavailable),
        (404, "notFound", UsageError),
        (408, "timeout", Unavailable),
        (409, "duplicate", Conflict),
        (412, "conditionNotMet", Conflict),
        (429, "rateLimitExceeded", Unavailable),
        (500, "internalError", Unavailable),
        (501, "notImplemented", UsageError),
        (502, "badGateway", Unavailable),
        (503, "backendError", Unavailable),
        (504, "timeout", Unavailable),
    ],
)
def test_an_answer_means_what_its_status_says(google: Answers, status: int, reason: str, meaning: Meaning) -> None:
    google.status, google.reason = status, reason
    address = f"http://127.0.0.1:{google.server_port}"
    buckets = storage.Client("p", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=address))
    for call in (
        lambda: bigquery_at(address).get_dataset("d", retry=None),
        lambda: buckets.get_bucket("b", retry=None),
    ):
        found = raised(call)
        assert type(found) is meaning
        said = f"Google {'does not answer' if meaning is Unavailable else 'refuses'} ({status}): "
        assert str(found).startswith("no Google credentials: " if status == 401 else said)


def test_nobody_answers(nobody: str) -> None:
    for call in (
        lambda: bigquery_at(f"http://{nobody}").get_dataset("d", retry=None),
        lambda: bigquery_at(f"http://{nobody}").get_dataset("d", retry=DEFAULT_RETRY.with_timeout(0.5)),
    ):
        found = raised(call)
        assert (type(found), str(found)) == (Unavailable, f"no answer from {nobody}: Connection refused")
    found = raised(lambda: grpc.insecure_channel(nobody).unary_unary("/a/b")(b"", timeout=5))
    assert type(found) is Unavailable


def test_a_name_that_is_not_known_and_a_server_that_is_silent() -> None:
    found = raised(lambda: bigquery_at("http://shop.invalid").get_dataset("d", retry=None))
    assert type(found) is Unavailable
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = raised(lambda: bigquery_at(f"http://{address}").get_dataset("d", retry=None, timeout=0.2))
    assert (type(found), str(found)) == (Unavailable, f"no answer from {address}: timed out")


def test_a_certificate_that_nobody_trusts_is_for_a_person_to_settle(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.keystore("server", "secret"), password="secret")
    with socket.create_server(("127.0.0.1", 0)) as plain, context.wrap_socket(plain, server_side=True) as server:

        def refused_by_client() -> None:
            with pytest.raises(ssl.SSLError):
                server.accept()

        threading.Thread(target=refused_by_client, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        found = raised(lambda: bigquery_at(f"https://{address}").get_dataset("d", retry=None))
    assert type(found) is UsageError
    assert "CERTIFICATE_VERIFY_FAILED" in str(found)


def test_an_address_that_is_none() -> None:
    assert type(raised(lambda: bigquery_at("localhost").get_dataset("d", retry=None))) is UsageError


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (DefaultCredentialsError("none were found"), UsageError),
        (RefreshError("invalid_grant"), UsageError),
        (RefreshError("later", retryable=True), Unavailable),
        (caused(RefreshError("no token"), TransportError("the metadata server is away")), Unavailable),
        (TransportError("away"), Unavailable),
        (exceptions.Aborted("the transaction lost"), Unavailable),
        (exceptions.AlreadyExists("it is there"), Conflict),
        (exceptions.RetryError("late", exceptions.ServiceUnavailable("away")), Unavailable),
        (exceptions.RetryError("late", None), Unavailable),
        (ChunkedEncodingError("cut off"), Unavailable),
        (DeadlineExceeded("BigQuery has not answered"), Unavailable),
        (SSLError("unexpected end"), Unavailable),
    ],
)
def test_an_error_means_what_its_type_says(error: Exception, meaning: Meaning) -> None:
    assert type(reported(error)) is meaning


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x"), AssertionError()])
def test_a_defect_of_ours_is_none_of_theirs(error: Exception) -> None:
    assert reported(error) is None
