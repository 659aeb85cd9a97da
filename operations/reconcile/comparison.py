"""One look at everything: the ledger, the tables, the dead letters, the files and the topics."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from contracts.errors import UsageError
from contracts.table import Table
from operations.reconcile.books import Books
from operations.reconcile.files import LoadedFiles
from operations.reconcile.findings import Finding
from operations.reconcile.lines import Line
from operations.reconcile.recount import Recount
from operations.reconcile.topics import TopicRecount
from operations.reconcile.values import ValueComparison

__all__ = ["Answer", "Scope", "Topics", "compare"]

Topics = Callable[[Sequence[Line]], AbstractContextManager[TopicRecount | None]]
"""What counts the topics of these lines again, None for nothing."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is compared."""

    warehouse: Warehouse
    storage: Storage
    operations_dataset: str
    tables: Mapping[str, Table]
    datasets: Mapping[str, str]
    """By table."""
    since: datetime
    run: str | None
    """Only what is about this run."""
    files: bool
    """Whether the records of files are counted again."""
    values: bool
    """Whether values are compared."""
    sample: int | None
    """Of how many records of each table; None for all."""

    def books(self) -> Books:
        """Return the books as they are now."""
        return Books(self.warehouse, self.operations_dataset, self.tables, self.datasets, self.since)

    def concerns(self, run: str) -> bool:
        """Whether a line or a finding of `run` is asked for."""
        return self.run in (None, run)


@dataclass(frozen=True)
class Answer:
    """What was compared, and what contradicts the ledger."""

    findings: Sequence[Finding]
    lines: Sequence[Line]
    books: Books
    recount: Recount
    values: ValueComparison | None
    topics: TopicRecount | None


def compare(scope: Scope, topics: Topics, log: Callable[[str], None]) -> Answer:
    """Compare all. Raises UsageError if the ledger has nothing to compare, and what the services raise."""
    books = scope.books()
    lines = [line for line in books.lines if scope.concerns(line.run)]
    if not lines:
        of_run = f" of run {scope.run}" if scope.run else ""
        raise UsageError(
            f"the ledger in {scope.operations_dataset} has no line{of_run} about these tables since"
            f" {scope.since:%Y-%m-%d}; launcher.py runs lists the runs, --days N looks further back"
        )
    log(f"comparing {len(lines):,} sources with the tables and the dead letters")
    found = list(books.findings())
    if found:  # a run that ended meanwhile is no contradiction: what is one stays one
        first = {finding.about for finding in found}
        books = scope.books()
        lines = [line for line in books.lines if scope.concerns(line.run)]
        found = [finding for finding in books.findings() if finding.about in first]
    files = LoadedFiles(scope.storage)
    recount = Recount(files)
    if scope.files:
        log("counting the records of the files again")
        found += recount.findings(lines, scope.tables)
    values = None
    if scope.values:
        log("comparing values")
        values = ValueComparison(
            scope.warehouse, scope.operations_dataset, files, scope.sample, secrets.randbelow(1_000_000)
        )
        found += values.findings(lines, scope.tables, scope.datasets)
    with topics(lines) as of_topics:
        if of_topics:
            log(f"counting the records of the topics at {of_topics.config.bootstrap_servers} again")
            found += of_topics.findings(lines, scope.warehouse, scope.operations_dataset, scope.since)
    findings = [finding for finding in found if scope.concerns(finding.run)]
    return Answer(findings, lines, books, recount, values, of_topics)
