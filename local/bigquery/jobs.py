"""Patches of bqemulator's jobs: each takes effect once, and its counts are its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bqemulator.api.dependencies import AppContext
from bqemulator.api.routes import jobs as job_routes
from bqemulator.api.routes import upload as upload_routes
from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
from bqemulator.catalog.models import JobMeta
from bqemulator.domain.errors import DomainError, ResourceRef, resource_already_exists
from bqemulator.jobs import executor
from bqemulator.scripting.ast import SqlStmt
from bqemulator.scripting.parser import parse_script

from local.bigquery.patching import patch
from local.bigquery.transaction import transaction

__all__ = ["apply"]

KEPT_RESULTS = 1000
"""The number of finished queries whose rows can still be fetched."""


def apply() -> None:
    """Apply the patches of jobs."""
    load_parquet_by_name()
    make_jobs_atomic()  # wraps load_parquet_by_name, so that the job record has its counts
    forget_old_results()


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


def make_jobs_atomic() -> None:
    """Upstream, a job with a known id runs again, where BigQuery answers 409 and the client fetches the job. Also, a
    job is recorded after its effect is committed, so a kill between the two leaves an effect without a record. The
    patch answers 409, and commits effect and record in one transaction. A script commits as its statements say, and
    is recorded afterwards. A SELECT has no effect: its record, like its rows, is kept in memory only.
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
            if isinstance(what, str) and executor.classify_statement_type(what) == "SELECT":
                job = await execute(project, job_id, what, *args, **kwargs)
                catalog = context.catalog
                return (catalog._cache if isinstance(catalog, DuckDBCatalogRepository) else catalog).upsert_job(job)
            with transaction(context):
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
