"""The world of a stream of updates: a topic of one partition, its changes, and the table that they are folded into."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from connectors.bigquery.warehouse import JobFailed
from contracts.schemas import bigquery_schema
from contracts.table import Column, Kind, Table, WriteDisposition
from tests.protocol.folding import Change, Row, folded_rows, source_of
from tests.protocol.world import BEGINNING, FakeClient, FakeWarehouse, Job, Statement, World

__all__ = ["SOURCE", "STOCK", "TABLE", "FoldWorld", "StockWarehouse"]

STOCK = Table(
    "stock",
    (Column("id", Kind.INTEGER, required=True), Column("v", Kind.INTEGER), Column("qty", Kind.INTEGER)),
    ("id",),
    disposition=WriteDisposition.MERGE,
)
TABLE, SOURCE = "d.stock", source_of(0)


@dataclass
class FoldJob(Job):
    """A statement that changes rows."""

    text: str = ""
    effect: dict[int, Row | None] = field(default_factory=dict)


@dataclass
class FoldWorld(World):
    """A topic of one partition with updates, its changes, and the table."""

    versioned: bool = False
    topic: list[Change] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    table: dict[int, Row] = field(default_factory=dict)
    loaded: set[int] = field(default_factory=set)
    """Keys that a batch has written."""

    def advance(self, job: Job) -> None:
        """Let a statement begin: it reads all; or let it take effect."""
        assert isinstance(job, FoldJob)
        if job.state == "PENDING" and job.text:
            if not self._has_lease(job, job.text):
                return
            folded = {SOURCE: 0}
            if "_position >= " in job.text.split("is appended")[1]:
                folded = {SOURCE: int(job.text.rsplit("._position >= ", 1)[1].split(")")[0])}
            job.effect, job.state = folded_rows(self.changes, self.table, folded, self.versioned), "RUNNING"
        elif job.state == "PENDING":
            if not self._has_lease(job, job.statement.lease):
                return
            at = int(self.now)
            job.effect = {int(key): Row(1000, 9, "gs://b/f", 0, at) for key in job.statement.keys}
            job.state = "RUNNING"
        elif job.state == "RUNNING":
            for key, row in job.effect.items():
                if row is None:
                    self.table.pop(key, None)
                else:
                    self.table[key] = row
            job.state = "DONE"

    def _has_lease(self, job: FoldJob, text: str) -> bool:
        """Whether the statement may begin; if it carries a lease that is lost, it fails."""
        (token,) = re.findall(r'AND token = "([^"]*)"', text) or (None,)
        if token not in (None, self.leases[TABLE]["token"]):
            job.state, job.failed = "DONE", "the lease is lost"
        return not job.failed


class StockClient(FakeClient):
    """It knows the columns of the table."""

    def get_table(self, _: object) -> Any:
        return SimpleNamespace(schema=bigquery_schema(STOCK))


class StockWarehouse(FakeWarehouse):
    """It runs folds, and deletes old changes."""

    _world: FoldWorld

    @property
    def client(self) -> Any:
        return StockClient(self._world)

    def execute(self, sql: Any, job: str) -> Any:
        world, job_id = self._world, f"{job}-1"
        text = sql if isinstance(sql, str) else ""
        statement = Statement((), "") if text else sql
        submitted = world.call(lambda: world.jobs.setdefault(job_id, FoldJob(statement, text=text)))
        assert isinstance(submitted, FoldJob)
        while submitted.state != "DONE":
            world.current.process.point(idle=True)
        if submitted.failed:
            raise JobFailed(submitted.failed)
        return SimpleNamespace(query=submitted.text, num_dml_affected_rows=0, job_id=job_id)

    def _update(self, sql: str, given: Any) -> int:
        if "_changes`" not in sql:
            return super()._update(sql, given)
        world = self._world
        oldest = (world.time() - timedelta(days=7)).replace(hour=0, minute=0, second=0, microsecond=0)
        if f'token = "{world.leases[TABLE]["token"]}"' in sql:
            world.changes = [each for each in world.changes if BEGINNING + timedelta(seconds=each.at) >= oldest]
        return 0
