"""Patches of bqemulator 1.4.0, where it differs from BigQuery and the pipeline would notice.

Each function replaces functions of bqemulator in this process. Its docstring says what is wrong upstream, and what the
patch does. Only server.py applies them, before the server starts. The pipeline does not depend on them.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import fastapi.routing
from bqemulator.api.dependencies import AppContext
from bqemulator.api.routes import jobs as job_routes
from bqemulator.api.routes import upload as upload_routes
from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
from bqemulator.catalog.memory_repository import MemoryCatalogRepository
from bqemulator.catalog.models import JobMeta
from bqemulator.domain.errors import DomainError, ResourceRef, resource_already_exists
from bqemulator.grpc_api.read_servicer import BigQueryReadHandler
from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler
from bqemulator.jobs import executor
from bqemulator.scripting.ast import SqlStmt
from bqemulator.scripting.parser import parse_script
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.streaming.write_stream import WriteStream
from bqemulator.versioning.snapshots import SnapshotManager
from google.cloud.bigquery_storage_v1 import types

from local.bigquery import access as bigquery_access
from local.bigquery import errors as bigquery_errors
from local.bigquery import structs as bigquery_structs
from local.bigquery.patching import patch

__all__ = ["apply"]

OPEN_APPENDS = 512
"""The largest number of open AppendRows connections. Each one holds a thread."""
KEPT_RESULTS = 1000
"""The number of finished queries whose rows can still be fetched."""


def apply(loop: asyncio.AbstractEventLoop, spatial: Path | None) -> None:
    """Apply all patches. `loop` is the event loop of the server, `spatial` the file of the spatial extension."""
    bigquery_structs.apply()
    run_engine_work_on(loop)
    keep_no_snapshots()
    make_appends_atomic()
    finalize_streams_of_earlier_servers()
    load_parquet_by_name()
    make_jobs_atomic()  # wraps load_parquet_by_name, so that the job record has its counts
    forget_old_results()
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
            with _transaction(handler._ctx):
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


def make_jobs_atomic() -> None:
    """Upstream, a job with a known id runs again, where BigQuery answers 409 and the client fetches the job. Also, a
    job is recorded after its effect is committed, so a kill between the two leaves an effect without a record. The
    patch answers 409, and commits effect and record in one transaction. A script commits as its statements say, and
    is recorded afterwards.
    """

    def refusing_known(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(project: str, job_id: str, *args: Any, **kwargs: Any) -> Any:
            context = _context(args, kwargs)
            if context.catalog.get_job(project, job_id) is not None:
                raise resource_already_exists(ResourceRef("job", project, resource_id=job_id))
            return await handle(project, job_id, *args, **kwargs)

        return run

    def recording(execute: Callable[..., Awaitable[JobMeta]]) -> Callable[..., Awaitable[JobMeta]]:
        async def run(project: str, job_id: str, what: Any, *args: Any, **kwargs: Any) -> JobMeta:
            if isinstance(what, str) and _is_script(what):
                return await execute(project, job_id, what, *args, **kwargs)
            context = _context(args, kwargs)
            with _transaction(context):
                job = await execute(project, job_id, what, *args, **kwargs)
                context.catalog.upsert_job(job)
            return job

        return run

    def once(upsert: Callable[..., JobMeta]) -> Callable[..., JobMeta]:
        # The route records the job a second time, with the same content: skip that transaction.
        def record(catalog: DuckDBCatalogRepository, job: JobMeta) -> JobMeta:
            known = catalog.get_job(job.project_id, job.job_id)
            return known if known is job else upsert(catalog, job)

        return record

    patch(DuckDBCatalogRepository, "upsert_job", once)
    for name in ("_handle_query_job", "_handle_load_job_with_async_envelope", "execute_copy_job"):
        patch(job_routes, name, refusing_known)
    for name in ("execute_query_job", "execute_load_job", "execute_copy_job"):
        patch(job_routes, name, recording)
    patch(upload_routes, "execute_load_job", recording)


def load_parquet_by_name() -> None:
    """Upstream, a load matches Parquet columns by position, turns `key=value` in a path into a column, and reports the
    rows of the whole table as its output. The patch matches by name, ignores the path, and counts the loaded rows.
    """

    def load_parquet(path: str, target: str, context: AppContext) -> None:
        context.engine.execute(
            f"INSERT INTO {target} BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)", [path]
        )

    def counting(execute: Callable[..., Awaitable[JobMeta]]) -> Callable[..., Awaitable[JobMeta]]:
        async def run(project: str, job_id: str, config: dict[str, Any], context: AppContext) -> JobMeta:
            before = _rows_that_stay(project, config, context)
            job = await execute(project, job_id, config, context)
            rows = int(job.statistics["load"]["outputRows"]) - before
            return job.model_copy(update={"statistics": {"load": {"outputRows": str(rows)}}})

        return run

    executor._LOAD_FORMAT_HANDLERS["PARQUET"] = load_parquet
    for routes in (job_routes, upload_routes):
        patch(routes, "execute_load_job", counting)


def forget_old_results() -> None:
    """Upstream keeps the rows of every query in memory until the server ends. The patch keeps KEPT_RESULTS queries."""

    def forgetting(execute: Callable[..., Awaitable[JobMeta]]) -> Callable[..., Awaitable[JobMeta]]:
        async def run(*args: Any, **kwargs: Any) -> JobMeta:
            job = await execute(*args, **kwargs)
            while len(executor.JOB_RESULTS) > KEPT_RESULTS:
                oldest = next(iter(executor.JOB_RESULTS))
                del executor.JOB_RESULTS[oldest]
                executor.JOB_SCHEMAS.pop(oldest, None)
            return job

        return run

    patch(job_routes, "execute_query_job", forgetting)


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


@contextmanager
def _transaction(context: AppContext) -> Iterator[None]:
    """Run the block in one DuckDB transaction. After a rollback, reload the catalog, which is cached in memory."""
    engine, catalog = context.engine, context.catalog
    engine.execute("BEGIN TRANSACTION")
    try:
        yield
        engine.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.TransactionException):  # a COMMIT that fails rolls back itself
            engine.execute("ROLLBACK")
        if isinstance(catalog, DuckDBCatalogRepository):
            catalog._cache = MemoryCatalogRepository()
            catalog._hydrate_from_duckdb()
        raise


def _context(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AppContext:
    """Return the AppContext among the arguments of a function of the server. Raises TypeError if there is none."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, AppContext):
            return value
    raise TypeError("called without an AppContext")


def _is_script(sql: str) -> bool:
    """Return whether the SQL is a script: several statements, a procedural one, or text that cannot be parsed."""
    try:
        statements = parse_script(sql).statements
    except DomainError:
        return True
    return len(statements) != 1 or not isinstance(statements[0], SqlStmt)


def _rows_that_stay(project: str, config: dict[str, Any], context: AppContext) -> int:
    """Return the number of rows of a load's destination that the load keeps."""
    job = executor._parse_load_job_config(project, config)
    known = context.catalog.get_table(job.project_id, job.dataset_id, job.table_id)
    if known is None or job.write_disposition == "WRITE_TRUNCATE":
        return 0
    return executor._refresh_load_row_count(job, context)
