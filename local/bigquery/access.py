"""Confine the local BigQuery to the files of buckets and its own files. A query cannot reach any other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bqemulator.api.dependencies import AppContext
from bqemulator.config import Settings
from bqemulator.domain.errors import InvalidQueryError
from bqemulator.jobs import executor
from bqemulator.storage.engine import DuckDBEngine

from local.bigquery.patching import patch

__all__ = ["apply"]


def apply() -> None:
    """Confine SQL and jobs."""
    confine_sql()
    confine_jobs()


def confine_sql() -> None:
    """Upstream, SQL can reach every file of the user, through functions such as read_text, COPY and ATTACH, and can
    download and load extensions. The patch makes DuckDB refuse all of that outside the folder of the buckets, and no
    statement can change it. DuckDB may always open its own database, which is in another folder.

    It runs after the load of the spatial extension, the last step that needs another file.
    """

    def confining(register: Callable[[DuckDBEngine], None]) -> Callable[[DuckDBEngine], None]:
        def run(engine: DuckDBEngine) -> None:
            register(engine)
            folders = ", ".join(f"'{_quoted(folder)}/'" for folder in _folders(engine._settings))
            engine.connection.execute(f"SET allowed_directories = [{folders}]")
            engine.connection.execute("SET enable_external_access = false")
            engine.connection.execute(
                "SET python_enable_replacements = false"
            )  # else a query can read Python variables as tables
            engine.connection.execute("SET lock_configuration = true")

        return run

    patch(DuckDBEngine, "_register_builtin_udfs", confining)


def confine_jobs() -> None:
    """Upstream, a load or extract job can name any file of the user as file:///…. DuckDB cannot refuse all of them,
    since it does not read Avro and ORC. The patch accepts files in the folder of the buckets and uploaded files.
    """

    def confining(resolve: Callable[[str, AppContext], str]) -> Callable[[str, AppContext], str]:
        def run(uri: str, context: AppContext) -> str:
            path = Path(resolve(uri, context)).resolve()
            if not any(path.is_relative_to(folder) for folder in _folders(context.settings)):
                raise InvalidQueryError(f"{uri[:200]!r} is not a file of a bucket: the local BigQuery reads only gs://")
            return str(path)

        return run

    patch(executor, "_resolve_uri", confining)


def _folders(settings: Settings) -> list[Path]:
    return [folder.resolve() for folder in (settings.gcs_local_root, settings.upload_staging_dir) if folder]


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
