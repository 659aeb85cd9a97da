"""Errors of the local BigQuery, as Google's BigQuery answers them: with a code that no client retries.

If DuckDB refuses something outside of a query, bqemulator 1.4.0 answers 500 "An internal error occurred", or UNKNOWN
over gRPC. Clients retry both for ten minutes, although the answer never changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import grpc
import pyarrow as pa
from bqemulator.api import app as application
from bqemulator.api.routes import jobs as job_routes
from bqemulator.domain.errors import DomainError, ErrorDetail, InternalError, InvalidQueryError
from bqemulator.grpc_api import write_servicer
from bqemulator.grpc_api.read_servicer import BigQueryReadHandler
from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler
from bqemulator.jobs import error_mapper
from bqemulator.scripting.exceptions import ScriptRaise
from bqemulator.streaming.write_stream import WriteStream
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from local.bigquery.patching import patch

__all__ = ["apply"]

DEFECTS = (
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.ConnectionException,
    duckdb.InterruptException,
)
"""Errors of DuckDB that are a fault of the server, not of the request."""
MISTAKES = (OverflowError, ScriptRaise)
"""Other exceptions that are about the statement: an invalid time, and RAISE."""
DEFECT_REASON = "localServerFailed"
"""The reason of a server fault. Clients would retry `internalError`, but the fault stays."""
SCHEMA = re.compile(r'"?([A-Za-z0-9_-]+?)__(\w+)"?\."?([\w-]+)"?')
"""A table in DuckDB's messages: a dataset is a schema called project__dataset."""
COLOURS = re.compile(r"\x1b\[\d*m")
ECHO = re.compile(r"\s*\bLINE \d+: .*", re.DOTALL)
"""DuckDB's copy of the statement, which differs from the user's statement."""


def apply() -> None:
    """Apply all patches of errors."""
    answer_requests()
    answer_queries()
    answer_short_queries()
    answer_appends()
    answer_reads()


def answer_requests() -> None:
    """Answer REST requests with 400 if DuckDB refuses, and with a 500 that no client retries if the server fails."""

    def installing(install: Callable[[FastAPI], None]) -> Callable[[FastAPI], None]:
        def run(app: FastAPI) -> None:
            install(app)
            defect: Any = app.exception_handlers[Exception]

            async def refused(request: Request, error: Exception) -> Any:
                if isinstance(error, DEFECTS):
                    return await failed(request, error)
                return _response(_refusal(error))

            async def failed(request: Request, error: Exception) -> Any:
                if isinstance(error, MISTAKES):
                    return _response(InvalidQueryError(str(error)))
                await defect(request, error)  # it logs the traceback
                text = f"the local BigQuery failed; see its log: {type(error).__name__}: {error}"
                return _response(InternalError(text, details=[ErrorDetail(DEFECT_REASON, text)]))

            app.add_exception_handler(duckdb.Error, refused)
            app.add_exception_handler(Exception, failed)

        return run

    patch(application, "install_exception_handlers", installing)


def answer_queries() -> None:
    """Answer a failed query with one line: no copy of the statement, no colours, no table names of DuckDB."""

    def readable(make: Callable[..., None]) -> Callable[..., None]:
        def run(error: InvalidQueryError, message: str, **context: Any) -> None:
            make(error, _readable(message), **context)

        return run

    patch(InvalidQueryError, "__init__", readable)


def answer_short_queries() -> None:
    """Answer a failed query of `jobs.query`, which has no job that could be asked for it, with its error. Upstream the
    answer has no rows and status 200, and the client takes the failure for an empty result.
    """

    def raising(make: Callable[..., Any]) -> Callable[..., Any]:
        def run(*, config: Mapping[str, Any], **job: Any) -> Any:
            if set(config) == {"query"} and set(config["query"]) == {"query"}:  # `jobs.insert` has the client's options
                raise  # it is called while the error is handled
            return make(config=config, **job)

        return run

    patch(job_routes, "_failed_job_meta", raising)


def answer_appends() -> None:
    """Answer appends of rows that do not fit the table with INVALID_ARGUMENT and the reason (Storage Write API)."""

    def refusing(append: Callable[..., bytes]) -> Callable[..., bytes]:
        def run(handler: BigQueryWriteHandler, stream: WriteStream, *args: Any) -> bytes:
            try:
                return append(handler, stream, *args)
            except duckdb.Error as error:
                if isinstance(error, DEFECTS):
                    raise
                return write_servicer._error_response(stream.name, _readable(str(error)))

        return run

    def fitting(rows_of: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            try:
                return rows_of(*args)
            except pa.ArrowException as error:  # upstream answers some of them as a server fault
                raise ValueError(str(error)) from error

        return run

    patch(BigQueryWriteHandler, "_perform_append", refusing)
    patch(write_servicer, "_rows_for_request", fitting)


def answer_reads() -> None:
    """Answer reads of unknown columns or invalid conditions with INVALID_ARGUMENT (Storage Read API)."""

    def refusing(handle: Callable[..., bytes]) -> Callable[..., bytes]:
        def run(handler: BigQueryReadHandler, request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return handle(handler, request, context)
            except (duckdb.Error, DomainError) as error:
                if isinstance(error, DEFECTS):
                    raise
                context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
                context.set_details(_readable(str(error)))
                return b""

        return run

    patch(BigQueryReadHandler, "_handle_create_read_session", refusing)


def _refusal(error: Exception) -> DomainError:
    translated = error_mapper.translate_runtime_error(error)
    return translated if translated.http_status < 500 else InvalidQueryError(str(error))


def _response(error: DomainError) -> JSONResponse:
    content: Mapping[str, Any] = error.to_bigquery_error()
    return JSONResponse(status_code=error.http_status, content=content)


def _readable(text: str) -> str:
    """Return the message in one line, without DuckDB's copy of the statement, with BigQuery's names of tables."""
    text = ECHO.sub("", COLOURS.sub("", text.removeprefix("Query execution failed: ")))
    return " ".join(SCHEMA.sub(r"\1.\2.\3", text).split())
