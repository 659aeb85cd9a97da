"""The meaning of an error of Google's clients: a usage error, a conflict, or a service that does not answer.

Types and status codes decide, never the text of a message:

| error | meaning |
| --- | --- |
| missing or refused credentials; 400, 401, 403, 404, other 4xx, 501; an untrusted certificate | UsageError |
| 409, 412: the resource exists already, or has changed meanwhile | Conflict |
| 408, 429, 5xx, 403 for a rate or quota, gRPC ABORTED, connections, time-outs, name lookups | Unavailable |
| RetryError, DeadlineExceeded: retries ended without success | Unavailable |
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import grpc
from google.api_core.exceptions import Aborted, GoogleAPICallError, RetryError, from_grpc_error
from google.auth.exceptions import GoogleAuthError, TransportError
from requests.exceptions import ChunkedEncodingError, RequestException, Timeout
from requests.exceptions import ConnectionError as NoConnection

from connectors.retry import DeadlineExceeded
from contracts.errors import Conflict, ReportedError, Unavailable, UsageError

__all__ = ["meaning_of", "reason", "reported"]

TEMPORARY_REASONS = frozenset(
    {"rateLimitExceeded", "jobRateLimitExceeded", "quotaExceeded", "backendError", "internalError"}
)
"""Reasons in the errors of BigQuery and Cloud Storage that may pass, even if the status is 403."""
CONNECTIONS = (NoConnection, Timeout, ChunkedEncodingError, TransportError)


def reported(error: BaseException) -> ReportedError | None:
    """Return the error as a ReportedError of one line, or None if it is not an error of Google's clients."""
    who = "Google"
    if isinstance(error, grpc.Call):
        who, error = "a gRPC service", from_grpc_error(error)
    if isinstance(error, GoogleAPICallError):
        kind, message = meaning_of(error), reason(error)
        return kind(f"{who} {'does not answer' if kind is Unavailable else 'refuses'} ({error.code}): {message}")
    if isinstance(error, DeadlineExceeded):
        return Unavailable(" ".join(str(error).split()))
    if isinstance(error, RetryError):
        cause = reported(error.cause) if error.cause else None
        return Unavailable(str(cause or error.message).splitlines()[0])
    chain = list(_chain(error))
    if isinstance(error, CONNECTIONS) or any(isinstance(cause, TransportError) for cause in chain):
        trusted = not any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain)
        return (Unavailable if trusted else UsageError)(f"no answer from {_host(error)}: {_text(chain[-1])}")
    if isinstance(error, GoogleAuthError):
        if error.retryable:
            return Unavailable(f"no Google credentials at the moment: {_text(error)}")
        why = _text(error).split(" To set up", 1)[0].rstrip(".")
        return UsageError(
            f"no Google credentials: {why}; gcloud auth application-default login creates them, --local needs none"
        )
    if isinstance(error, RequestException):  # an invalid address
        return UsageError(_text(error))
    return None


def meaning_of(error: GoogleAPICallError) -> type[UsageError | Conflict | Unavailable]:
    """Return the class of error that the status code and the reasons of an answer mean."""
    code = int(error.code or 500)
    reasons = {detail.get("reason") for detail in error.errors if isinstance(detail, dict)}
    if code in (408, 429) or (code >= 500 and code != 501) or isinstance(error, Aborted):
        return Unavailable
    if code == 403 and reasons & TEMPORARY_REASONS:
        return Unavailable
    return Conflict if code in (409, 412) else UsageError


def reason(error: GoogleAPICallError) -> str:
    """Return Google's message on one line, without the address of the request, the id of the job and its location."""
    text = re.split(r"; reason: |\n+Location: |\n+Job ID: ", str(error.message), maxsplit=1)[0]
    text = re.sub(r"^(?:DELETE|GET|PATCH|POST|PUT) https?://\S+: ", "", text)
    text = re.sub(r"\s*LINE \d+: .*?\n *\^", "", text, flags=re.DOTALL)  # a caret is useless on one line
    return " ".join(text.split())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes; of a connection's error, that of the operating system comes last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _host(error: BaseException) -> str:
    request = getattr(error, "request", None)
    return urlsplit(request.url).netloc if request is not None else "Google"


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = str(error.args[0] if error.args else error)
    return " ".join(text.split()) or type(error).__name__
