"""Transactions of bqemulator's DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb
from bqemulator.api.dependencies import AppContext
from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
from bqemulator.catalog.memory_repository import MemoryCatalogRepository

__all__ = ["transaction"]


@contextmanager
def transaction(context: AppContext) -> Iterator[None]:
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
