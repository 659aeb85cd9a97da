"""A stream and a batch behind the strict server, and the rules of that server."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core.exceptions import BadRequest

from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.files.storage import Storage
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from local.engines import engines
from local.service import PROJECT
from local.services import Endpoints
from tests import launching
from tests.e2e.bucket_writers import FIRST, SCHEMA, append, events_spec, owner
from tests.e2e.streams import StreamSite
from tests.e2e.strict_server import Rules, strict

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
QUICK = Rules((0.01, 0.05), 0.5, 12)


def test_leases_of_many_runs_wait_for_each_other(
    local_cloud: tuple[Path, Endpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More runs than statements may wait: contention is retried."""
    ensure_operations(Warehouse(PROJECT, "US"), "many")
    with strict(local_cloud[1].environment(), Rules((0.05, 0.1), 0)) as (environment, server):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        retry = RetryPolicy(60, first_pause=0.1, longest_pause=0.5)

        def run(number: int) -> None:
            leases = Leases(Warehouse(PROJECT, "US"), "many", retry)
            assert leases.take([f"d.t{number}"], f"run-{number}", f"token-{number}") is None
            leases.release([f"d.t{number}"], f"token-{number}")

        with ThreadPoolExecutor(30) as pool:
            list(pool.map(run, range(30)))
        assert server.refused["outstanding"] > 0
        assert set(server.refused) == {"outstanding"}
        counted = "SELECT COUNT(DISTINCT `table`) AS n FROM many.leases WHERE token IS NULL"
        assert Warehouse(PROJECT, "US").query(counted) == [{"n": 30}]


def test_the_first_start_of_many_buckets(local_cloud: tuple[Path, Endpoints], monkeypatch: pytest.MonkeyPatch) -> None:
    """New tables, and more write streams than may be created in a while: all of it is waited for."""
    with strict(local_cloud[1].environment(), QUICK) as (environment, server):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        warehouse = Warehouse(PROJECT, "US")
        ensure_operations(warehouse, "first")
        warehouse.ensure_table(events_spec("first"))
        retry = RetryPolicy(60, 5, longest_pause=0.5)
        assert append(owner(warehouse, "first", "run", retry), {1: "a"}) == [FIRST]
        assert server.refused["new table"] > 0
        streams = WriteStreams(warehouse, "first", "run", retry)
        assert streams.buckets("first.events") == 1
        client = write_client()
        path = f"projects/{PROJECT}/datasets/first/tables/events"

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: AppendStream.create(client, path, SCHEMA, retry), range(16)))
        assert server.refused["quota"] > 0
        with pytest.raises(BadRequest, match="streaming buffer"):
            warehouse.update("DELETE FROM `first`.`events` WHERE TRUE")


def test_a_stream(kafka_cloud: tuple[Path, Endpoints]) -> None:
    """Its first start, a kill, and a start that ends: statements take seconds, and tables are new."""
    with strict(kafka_cloud[1].environment()) as (environment, server), engines("PrismRunner") as options:
        stream = StreamSite(*kafka_cloud, "strict", environment=environment, engines=options)
        feed = stream.feed()
        feed.send(2_000)
        start = stream.start()
        assert stream.written_by(start) > 0
        start.kill()
        feed.send(1_000)
        summary = stream.start("--stop_when_idle=1").finish()
        stream.check(feed)
        assert (summary["state"], set(summary["lag"].values())) == ("done", {0})
        assert set(server.refused) <= {"new table", "quota"}
        changes = Counter(sql.split()[0] for sql in server.statements)
        assert changes["UPDATE"] <= 6
        assert changes["MERGE"] == 0


def test_a_batch(kafka_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    """It runs again under another name, into the tables of the first run."""
    (tmp_path / "customers.csv").write_text(
        "customer_id,email,first_name,last_name,country,signup_date,is_active\nc1,a@example.com,A,B,DE,2026-01-02,true\n"
    )
    Storage(PROJECT).client.create_bucket("strict")
    with strict(kafka_cloud[1].environment(), Rules((0.2, 0.6), 2)) as (environment, server):
        for run in ("one", "two"):
            arguments = ["batch", "--runner=DirectRunner", f"--run_id=strict-{run}", f"--input={tmp_path}"]
            arguments += ["--project=local-project", "--location=US", "--dataset=strict_batch"]
            arguments += ["--processed=gs://strict/processed", "--dead_letters=gs://strict/dead_letters"]
            arguments += ["--operations_dataset=strict_batch_operations"]
            done = launching.run(arguments, {**os.environ, **kafka_cloud[1].environment(), **environment}, timeout=240)
            assert done.returncode == 0, done.stderr
        assert server.refused == {}
    assert Warehouse(PROJECT, "US").query("SELECT COUNT(*) AS n FROM strict_batch.customers") == [{"n": 1}]
