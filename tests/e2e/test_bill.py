"""What BigQuery is asked to read: the inputs of docs/explanation/costs.md, from the statements themselves."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from google.cloud.bigquery import SchemaField
from sqlglot import exp

from connectors.bigquery.clock import BigQueryClock
from connectors.bigquery.warehouse import TableSpec, Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.roll_up import roll_up
from connectors.retry import RetryPolicy
from connectors.sinks.bucket_writers import BucketWriters
from connectors.sinks.destination import Destination
from connectors.sinks.stored_keys import Progress
from contracts.table import Column, Kind, Table
from local.service import PROJECT
from local.services import Endpoints
from tests.e2e.append_proxy import AppendProxy
from tests.graphs.streams import RUN

pytestmark = pytest.mark.e2e
BUCKETS = 8
FEW = 24
"""Statements for all buckets of a start: five for each would be 45. Those that come together share them."""
TABLE = Table("events", (Column("id", Kind.STRING, required=True),), ("id",))


class Recorded(Warehouse):
    """The warehouse, and what it was asked."""

    asked: list[str]

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        self.asked.append(sql)
        return super().query(sql, **parameters)

    def update(self, sql: str, **parameters: Any) -> int:
        self.asked.append(sql)
        return super().update(sql, **parameters)

    def statements(self) -> list[str]:
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def warehouse(local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> Recorded:
    warehouse = Recorded(PROJECT, "US")
    warehouse.asked = []
    ensure_operations(warehouse, request.node.name)
    warehouse.statements()
    return warehouse


def pruned(sql: str) -> bool:
    """Whether each read of the ledger has a condition on the column that it is partitioned by."""
    tree = sqlglot.parse_one(sql, dialect="bigquery")
    reads = [table for table in tree.find_all(exp.Table) if table.name == "ledger" and table.find_ancestor(exp.Select)]
    selects = [table.find_ancestor(exp.Select) for table in reads]
    wheres = [select.args.get("where") for select in selects if select]
    return bool(reads) and all(
        where is not None and any(column.name == "recorded_at" for column in where.find_all(exp.Column))
        for where in wheres
    )


def test_status_and_summary_read_the_time_of_the_run(warehouse: Recorded, request: pytest.FixtureRequest) -> None:
    ledger = LedgerTable(warehouse, request.node.name)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    ledger.total(RUN, {"events": "d"}, since)
    ledger.lost(RUN, since)
    asked = warehouse.statements()
    assert len(asked) == 2
    assert all(map(pruned, asked))
    ledger.newest_offsets(["kafka://t/0"])
    recent, ever = warehouse.statements()  # the second only if two days have no line
    assert recent == ever
    assert pruned(recent)


def test_a_day_is_rolled_up_by_statements_about_that_day(warehouse: Recorded, request: pytest.FixtureRequest) -> None:
    dataset = request.node.name
    ledger = LedgerTable(warehouse, dataset)
    ledger.record_counts(RUN, "offsets", "d.events", {})
    warehouse.query(
        f"INSERT INTO `{dataset}`.ledger (run_id, pipeline, kind, `table`, source, first_offset, last_offset, `read`,"
        " written, duplicate, dead_letter, recorded_at) VALUES"
        " ('r', 'stream', 'offsets', 'events', 'kafka://t/0', 0, 9, 10, 10, 0, 0, TIMESTAMP '2026-03-01 12:00:00+00')"
    )
    warehouse.statements()
    assert roll_up(warehouse, dataset, datetime(2026, 3, 4, tzinfo=UTC)) == 1
    days, *of_the_day = warehouse.statements()
    assert "first_recorded_at IS NULL" in days
    assert len(of_the_day) == 3
    assert all(map(pruned, of_the_day[:-1]))
    assert of_the_day[-1].startswith("MERGE")
    assert of_the_day[-1].count("line.recorded_at") == 2


def test_leases_cost_two_updates_and_heartbeats_none(warehouse: Recorded, request: pytest.FixtureRequest) -> None:
    leases, names = Leases(warehouse, request.node.name), ["d.events", "d.other", "group:g"]
    for expected in (3, 2):  # at first the rows are inserted
        assert leases.take(names, "run", "token") is None
        for _ in range(3):
            assert leases.renew(names, "token")
        leases.release(names, "token")
        changes = [sql for sql in warehouse.statements() if not sql.startswith("SELECT")]
        assert len(changes) == expected


def test_a_process_that_takes_all_buckets_reads_the_table_a_few_times(
    warehouse: Recorded,
    local_cloud: tuple[Path, Endpoints],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "connectors")
    dataset, sessions = request.node.name, list[str]()
    names = {"id": "STRING", "_source": "STRING", "_position": "INTEGER", "_hash": "INTEGER", "_run_id": "STRING"}
    fields = [SchemaField(name, kind) for name, kind in {**names, "_ingested_at": "TIMESTAMP"}.items()]
    warehouse.ensure_table(TableSpec(dataset, "events", tuple(fields)))
    run = replace(RUN, operations_dataset=dataset, token=dataset, project=PROJECT)
    destination = Destination(run, {"events": TABLE}, {"events": dataset}, warehouse)
    now = BigQueryClock.of(warehouse).now()
    writers = BucketWriters(destination, BUCKETS, timedelta(days=1), RetryPolicy(20, 5), lambda: Progress({}, now))
    with AppendProxy(local_cloud[1].environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", proxy.address)

        def slow(method: str) -> None:
            """A read of an empty table is over before another bucket comes."""
            if method == "CreateReadSession":
                sessions.append(method)
                time.sleep(1)

        proxy.on_call = slow
        writers.take_buckets()
        assert warehouse.query(f"SELECT COUNT(*) AS n FROM `{dataset}`.write_streams") == [{"n": BUCKETS + 1}]
        assert len(sessions) <= 1 + BUCKETS // 2  # one is of the dead letters
        assert len(warehouse.statements()) <= FEW
        proxy.on_call = lambda _: None
        again = replace(run, token=f"{dataset}-2")
        replace(writers, destination=replace(destination, run=again)).take_buckets()
    assert len(warehouse.statements()) <= FEW
    assert "is not taken" not in caplog.text
    run.state.close()
    again.state.close()
