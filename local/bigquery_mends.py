"""What bqemulator 1.4.0 does otherwise than BigQuery and the pipeline would meet, mended from outside.

Each function here replaces something of bqemulator's in this process and says what is wrong with it upstream.
Only bigquery_server.py calls them, before the server starts; no code of the pipeline knows of them.
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
from bqemulator.api.routes.tables import _field_to_rest
from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
from bqemulator.catalog.memory_repository import MemoryCatalogRepository
from bqemulator.catalog.models import JobMeta, TableMeta
from bqemulator.domain.errors import DomainError, ResourceRef, resource_already_exists
from bqemulator.grpc_api.read_servicer import BigQueryReadHandler
from bqemulator.grpc_api.write_servicer import BigQueryWriteHandler
from bqemulator.jobs import executor
from bqemulator.scripting.ast import SqlStmt
from bqemulator.scripting.parser import parse_script
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns
from bqemulator.streaming.write_stream import WriteStream
from bqemulator.versioning.snapshots import SnapshotManager

__all__ = ["apply"]

OPEN_APPENDS = 512
"""How many AppendRows connections may be open at once; each holds a thread for as long as it is open."""
KEPT_RESULTS = 1000
"""How many finished queries' rows can still be fetched."""


def apply(loop: asyncio.AbstractEventLoop, spatial: Path | None) -> None:
    """Make every mend. `loop` is the loop that the server will run on, `spatial` the extension's file."""
    run_engine_work_on(loop)
    keep_no_snapshots()
    make_appends_atomic()
    load_parquet_by_name()
    make_jobs_atomic()  # round the former, so that what it counts is what is recorded
    store_added_columns()
    forget_old_results()
    write_checkpoints_seldom()
    if spatial is not None:
        load_spatial_from(spatial)


def run_engine_work_on(loop: asyncio.AbstractEventLoop) -> None:
    """Upstream, gRPC handlers and the plain functions among the REST routes use the one DuckDB connection from
    threads of their own while other routes use it on the event loop: appends and queries together deadlock, and a
    listing of rows meanwhile mixes up both answers. Here all of them do it on the loop. It never waits in the
    middle of a request, so each is also alone.

    The threads that AppendRows connections hold are the loop's default ones, upstream cores + 4: one connection
    more waits for ever. Here there are enough.
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
        _replace(BigQueryWriteHandler, name, on_loop)
    _replace(BigQueryReadHandler, "_handle_create_read_session", on_loop)

    async def inline(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    _replace(fastapi.routing, "run_in_threadpool", lambda _: inline)
    loop.set_default_executor(ThreadPoolExecutor(OPEN_APPENDS, thread_name_prefix="append"))


def keep_no_snapshots() -> None:
    """Upstream, every append and load copies the whole table for time travel: n appends cost n squared."""
    _replace(SnapshotManager, "capture", lambda _: lambda *args, **kwargs: None)


def make_appends_atomic() -> None:
    """Upstream, a COMMITTED stream counts its offset up before the INSERT. If that fails, the client's retry is
    told ALREADY_EXISTS and the rows are lost. Here a failed append leaves rows, offset and row count as they were.

    The row count is kept in memory alone (Google's does not know of rows that were just appended either): upstream
    writes the table's whole description with each append, which costs more than the rows.
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
                catalog._write_table = lambda table: None
                try:
                    flush(handler, *args)
                finally:
                    del catalog._write_table

        return insert

    _replace(BigQueryWriteHandler, "_perform_append", restoring)
    _replace(BigQueryWriteHandler, "_flush_to_target", in_transaction)


def make_jobs_atomic() -> None:
    """Upstream, a job id that exists runs again, where BigQuery answers 409 and the client fetches the job; and a
    job is recorded after its effect is committed, so a kill between the two leaves an effect that nobody can
    account for. Here effect and record are one transaction. A script commits as its statements say; its record
    comes after.
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
        # The route records the job again; that would be a second transaction with nothing new in it.
        def record(catalog: DuckDBCatalogRepository, job: JobMeta) -> JobMeta:
            known = catalog.get_job(job.project_id, job.job_id)
            return known if known is job else upsert(catalog, job)

        return record

    _replace(DuckDBCatalogRepository, "upsert_job", once)
    for name in ("_handle_query_job", "_handle_load_job_with_async_envelope", "execute_copy_job"):
        _replace(job_routes, name, refusing_known)
    for name in ("execute_query_job", "execute_load_job", "execute_copy_job"):
        _replace(job_routes, name, recording)
    _replace(upload_routes, "execute_load_job", recording)


def load_parquet_by_name() -> None:
    """Upstream, a load matches Parquet columns by position, takes `key=value` in a path for a column, and reports
    the rows of the whole table as its output.
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
        _replace(routes, "execute_load_job", counting)


def store_added_columns() -> None:
    """Upstream, update_table changes what is said about a table, not the table: a column added so does not exist
    for queries and loads.
    """

    def adding(update: Callable[..., TableMeta]) -> Callable[..., TableMeta]:
        def update_table(catalog: DuckDBCatalogRepository, table: TableMeta) -> TableMeta:
            known = catalog.get_table(table.project_id, table.dataset_id, table.table_id)
            if known is None or table.table_type != "TABLE" or known.schema_ == table.schema_:
                return update(catalog, table)
            target = quoted_table_ref(table.project_id, table.dataset_id, table.table_id)
            stored = {row[1].casefold() for row in catalog._engine.execute(f"PRAGMA table_info({target})").fetchall()}
            for name, kind in bq_schema_to_duckdb_columns([_field_to_rest(field) for field in table.schema_.fields]):
                if name.casefold() not in stored:
                    catalog._engine.execute(f'ALTER TABLE {target} ADD COLUMN "{name}" {kind}')
            return update(catalog, table)

        return update_table

    _replace(DuckDBCatalogRepository, "update_table", adding)


def forget_old_results() -> None:
    """Upstream keeps the rows of every query in memory until the server ends."""

    def forgetting(execute: Callable[..., Awaitable[JobMeta]]) -> Callable[..., Awaitable[JobMeta]]:
        async def run(*args: Any, **kwargs: Any) -> JobMeta:
            job = await execute(*args, **kwargs)
            while len(executor.JOB_RESULTS) > KEPT_RESULTS:
                oldest = next(iter(executor.JOB_RESULTS))
                del executor.JOB_RESULTS[oldest]
                executor.JOB_SCHEMAS.pop(oldest, None)
            return job

        return run

    _replace(job_routes, "execute_query_job", forgetting)


def write_checkpoints_seldom() -> None:
    """DuckDB rewrites the end of a table at every 16 MB of its log, a third of what small appends cost. What a crash
    leaves in the log is read again at the next start.
    """

    def setting(apply: Callable[[DuckDBEngine], None]) -> Callable[[DuckDBEngine], None]:
        def pragmas(engine: DuckDBEngine) -> None:
            apply(engine)
            engine.connection.execute("SET checkpoint_threshold = '256MB'")

        return pragmas

    _replace(DuckDBEngine, "_apply_session_pragmas", setting)


def load_spatial_from(file: Path) -> None:
    """Upstream fetches DuckDB's spatial extension from the internet and stores it under the user's home."""

    def load(engine: DuckDBEngine) -> None:
        engine.connection.execute(f"LOAD '{str(file).replace(chr(39), 2 * chr(39))}'")

    _replace(DuckDBEngine, "_load_spatial", lambda _: load)


def _replace(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(what was there)` in the place of `owner.name`."""
    setattr(owner, name, make(getattr(owner, name)))


@contextmanager
def _transaction(context: AppContext) -> Iterator[None]:
    """One DuckDB transaction. Undone, the catalog is read anew, since it is cached in memory."""
    engine, catalog = context.engine, context.catalog
    engine.execute("BEGIN TRANSACTION")
    try:
        yield
        engine.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.TransactionException):  # a COMMIT that failed has undone it already
            engine.execute("ROLLBACK")
        if isinstance(catalog, DuckDBCatalogRepository):
            catalog._cache = MemoryCatalogRepository()
            catalog._hydrate_from_duckdb()
        raise


def _context(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AppContext:
    """The server's parts, which every one of its functions gets among its arguments."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, AppContext):
            return value
    raise TypeError("called without an AppContext")


def _is_script(sql: str) -> bool:
    """More than one statement, or a procedural one; also what cannot be parsed, which bqemulator refuses itself."""
    try:
        statements = parse_script(sql).statements
    except DomainError:
        return True
    return len(statements) != 1 or not isinstance(statements[0], SqlStmt)


def _rows_that_stay(project: str, config: dict[str, Any], context: AppContext) -> int:
    """The rows that a load's destination holds before it and keeps."""
    job = executor._parse_load_job_config(project, config)
    known = context.catalog.get_table(job.project_id, job.dataset_id, job.table_id)
    if known is None or job.write_disposition == "WRITE_TRUNCATE":
        return 0
    return executor._refresh_load_row_count(job, context)
