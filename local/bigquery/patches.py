"""Patches of bqemulator 1.4.0, where it differs from BigQuery and the pipeline would notice.

Each function replaces functions of bqemulator in this process. Its docstring says what is wrong upstream, and what the
patch does. Only server.py applies them, before the server starts. The pipeline does not depend on them.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fastapi.routing
from bqemulator.grpc_api.read_servicer import BigQueryReadHandler
from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.streaming.write_stream import WriteStream
from bqemulator.versioning.snapshots import SnapshotManager
from google.cloud.bigquery_storage_v1 import types

from local.bigquery import access as bigquery_access
from local.bigquery import errors as bigquery_errors
from local.bigquery import jobs as bigquery_jobs
from local.bigquery import parsing as bigquery_parsing
from local.bigquery import structs as bigquery_structs
from local.bigquery.patching import patch
from local.bigquery.transaction import transaction

__all__ = ["apply"]

OPEN_APPENDS = 512
"""The largest number of open AppendRows connections. Each one holds a thread."""


def apply(loop: asyncio.AbstractEventLoop, spatial: Path | None) -> None:
    """Apply all patches. `loop` is the event loop of the server, `spatial` the file of the spatial extension."""
    bigquery_parsing.apply()
    bigquery_structs.apply()
    run_engine_work_on(loop)
    keep_no_snapshots()
    make_appends_atomic()
    finalize_streams_of_earlier_servers()
    bigquery_jobs.apply()
    write_checkpoints_seldom()
    if spatial is not None:
        load_spatial_from(spatial)
    bigquery_access.apply()
    bigquery_errors.apply()  # wraps all others, and answers their failures


def run_engine_work_on(loop: asyncio.AbstractEventLoop) -> None:
    """Upstream, gRPC handlers and the synchronous REST routes use the one DuckDB connection from worker threads, while
    other routes use it on the event loop. Appends and queries at the same time deadlock, and a listing of rows at
    that moment mixes up both answers. The patch runs all of them on the loop, which never switches in the middle of a
    request: no two requests overlap.

    AppendRows connections hold threads of the loop's default executor. Upstream it has cores + 4 threads, and one
    more connection waits forever. The patch provides OPEN_APPENDS threads.
    """
    thread = threading.get_ident()

    def on_loop(handle: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handle)
        def call(*args: Any) -> Any:
            if threading.get_ident() == thread:
                return handle(*args)

            async def run() -> Any:
                return handle(*args)

            return asyncio.run_coroutine_threadsafe(run(), loop).result()

        return call

    for name in (
        "_perform_append",
        "_ensure_stream_bound",
        "_handle_create_write_stream",
        "_handle_get_write_stream",
        "_handle_finalize_write_stream",
        "_handle_batch_commit_write_streams",
        "_handle_flush_rows",
    ):
        patch(BigQueryWriteHandler, name, on_loop)
    patch(BigQueryReadHandler, "_handle_create_read_session", on_loop)

    async def inline(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    patch(fastapi.routing, "run_in_threadpool", lambda _: inline)
    loop.set_default_executor(ThreadPoolExecutor(OPEN_APPENDS, thread_name_prefix="append"))


def keep_no_snapshots() -> None:
    """Upstream, every append and load copies the whole table for time travel: n appends cost O(n²). The patch makes
    no copies.
    """
    patch(SnapshotManager, "capture", lambda _: lambda *_, **__: None)


def make_appends_atomic() -> None:
    """Upstream, a COMMITTED stream advances its offset before the INSERT. If the INSERT fails, the answer to the
    client's retry is ALREADY_EXISTS, and the rows are lost. With the patch, a failed append changes neither rows nor
    offset nor row count.

    The row count is kept in memory only (Google's does not include recent appends either). Upstream writes the whole
    table description with each append, which costs more than the rows.
    """

    def restoring(append: Callable[..., Any]) -> Callable[..., Any]:
        def perform(handler: BigQueryWriteHandler, stream: WriteStream, *args: Any) -> Any:
            before = stream.next_offset, stream.row_count
            try:
                return append(handler, stream, *args)
            except BaseException:
                stream.next_offset, stream.row_count = before
                raise

        return perform

    def in_transaction(flush: Callable[..., None]) -> Callable[..., None]:
        def insert(handler: BigQueryWriteHandler, *args: Any) -> None:
            catalog: Any = handler._ctx.catalog
            with transaction(handler._ctx):
                catalog._write_table = lambda _: None
                try:
                    flush(handler, *args)
                finally:
                    del catalog._write_table

        return insert

    patch(BigQueryWriteHandler, "_perform_append", restoring)
    patch(BigQueryWriteHandler, "_flush_to_target", in_transaction)


def finalize_streams_of_earlier_servers() -> None:
    """BigQuery remembers write streams; this server forgets them when it ends, and answers NOT_FOUND to a finalize.
    For the pipeline that is no proof that nothing can be appended (BigQuery may answer so about a stream that was just
    created), so it would ask for a minute. Here it is one: a stream that this server does not know belongs to a server
    that has ended. The patch answers that it is finalized. An append to it still meets NOT_FOUND.
    """

    def known_or_ended(handle: Callable[..., bytes]) -> Callable[..., bytes]:
        def finalize(handler: BigQueryWriteHandler, request: bytes, context: Any) -> bytes:
            if handler._manager.get(types.FinalizeWriteStreamRequest.deserialize(request).name) is None:
                return types.FinalizeWriteStreamResponse.serialize(types.FinalizeWriteStreamResponse())
            return handle(handler, request, context)

        return finalize

    patch(BigQueryWriteHandler, "_handle_finalize_write_stream", known_or_ended)


def write_checkpoints_seldom() -> None:
    """DuckDB rewrites the end of a table after every 16 MB of its log, which is a third of the cost of small appends.
    The patch does so after 256 MB. After a crash, the next start reads the log.
    """

    def setting(apply: Callable[[DuckDBEngine], None]) -> Callable[[DuckDBEngine], None]:
        def pragmas(engine: DuckDBEngine) -> None:
            apply(engine)
            engine.connection.execute("SET checkpoint_threshold = '256MB'")

        return pragmas

    patch(DuckDBEngine, "_apply_session_pragmas", setting)


def load_spatial_from(file: Path) -> None:
    """Upstream downloads DuckDB's spatial extension and stores it under the user's home. The patch loads `file`."""

    def load(engine: DuckDBEngine) -> None:
        engine.connection.execute(f"LOAD '{str(file).replace(chr(39), 2 * chr(39))}'")

    patch(DuckDBEngine, "_load_spatial", lambda _: load)
