"""Fold the changes of the tables that a stream of updates feeds into them, at intervals and at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.cloud.bigquery import QueryJob

from connectors.bookkeeping.ledger import FOLDED
from connectors.bookkeeping.statements import end_numbered, fold_id, numbered
from connectors.sinks.destination import Destination
from connectors.sinks.fold import fold_statement
from contracts.changes import changes_of, takes_updates
from contracts.lineage import INGESTED_AT

__all__ = ["CHANGES_KEPT", "Folder", "Folding"]

logger = logging.getLogger(__name__)
CHANGES_KEPT = timedelta(days=7)
"""How long changes are kept after they were appended: what a change is compared with, besides the row of its key."""
TRIM_PAUSE = timedelta(hours=6)


@dataclass(frozen=True)
class Folding:
    """What a Folder needs. It pickles."""

    to: Destination
    committed: Callable[[], Mapping[str, int]]
    """Returns the committed offset of each partition: the changes below it are all appended."""
    clock: Callable[[], datetime]
    """BigQuery's time."""
    seconds: float
    """How often changes are folded."""

    @property
    def tables(self) -> list[str]:
        """The names of the tables that a stream of updates feeds."""
        return [name for name, table in self.to.tables.items() if takes_updates(table)]


class Folder:
    """Folds the tables of one run in this process. It needs the leases of the tables."""

    def __init__(self, folding: Folding) -> None:
        self._folding, self._to = folding, folding.to
        self._folded: dict[str, Mapping[str, int]] = {}
        """For each table the offsets below which its changes are folded."""
        self._numbers: dict[str, int] = {}
        self._trimmed: dict[str, datetime] = {}

    def fold(self, whole: bool = False) -> int:
        """Fold what has been committed since the last time; return how many rows have changed. Raises JobFailed.

        The first fold and one in six hours read all changes. So does a `whole` one, where the contract has `versionBy`:
        a tombstone may uncover a version of another partition that was folded before.
        """
        if not self._folding.tables:
            return 0
        committed, now, changed = dict(self._folding.committed()), self._folding.clock(), 0
        for name in self._folding.tables:
            trims = name not in self._trimmed or now - self._trimmed[name] >= TRIM_PAUSE
            reads_all = trims or (whole and self._to.tables[name].version_by is not None)
            if self._folded.get(name) == committed and not reads_all:
                continue
            if reads_all:
                self._folded.pop(name, None)
            changed += self._fold(name, committed)
            self._folded[name] = committed
            if trims:
                self._trim(name, now)
        return changed

    def _fold(self, name: str, committed: Mapping[str, int]) -> int:
        to, run, qualified = self._to, self._to.run, self._to.qualified(name)
        dataset, changes = to.datasets[name], changes_of(to.tables[name])
        stored = to.warehouse.client.get_table(to.warehouse.reference(dataset, name)).schema
        places = to.path(dataset, name), to.path(dataset, changes.name)
        sql = fold_statement(to.tables[name], *places, to.lease_condition(name), self._folded.get(name, {}), stored)
        job = self._execute(name, f"-- All below {json.dumps(committed)} is appended.\n{sql}")
        changed = int(job.num_dml_affected_rows or 0)
        if changed:
            line = {"table": name, "dataset": dataset, "written": changed, "detail": {"jobs": [job.job_id]}}
            to.ledger.record(run, FOLDED, [line])
        logger.info("%s: %d rows changed", qualified, changed)
        return changed

    def _execute(self, name: str, sql: str) -> QueryJob:
        """Run a statement under the next number.

        A worker that was replaced may have used the number meanwhile; its statement knows less than this one.
        """
        run, qualified = self._to.run, self._to.qualified(name)
        prefix = fold_id(run.operations_dataset, qualified, run.run_id, run.token)
        while True:
            self._numbers[name] = 1 + (
                self._numbers[name] if name in self._numbers else end_numbered(self._to.warehouse, prefix)
            )
            job = self._to.warehouse.execute(sql, numbered(prefix, self._numbers[name]))
            if job.query == sql:
                return job

    def _trim(self, name: str, now: datetime) -> None:
        """Delete old changes, all of which are folded."""
        to = self._to
        path = to.path(to.datasets[name], changes_of(to.tables[name]).name)
        to.warehouse.update(
            f"DELETE FROM {path} WHERE {INGESTED_AT} < TIMESTAMP '{now - CHANGES_KEPT:%Y-%m-%d}'"
            f" AND {to.lease_condition(name)}"
        )
        self._trimmed[name] = now
