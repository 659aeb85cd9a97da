"""The ledger's gate: a record that is lost on the way stops the load. And the graph alone is the whole run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from commands.session import SERVICES
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LedgerTable
from connectors.files.storage import Storage
from pipelines.batch.preflight import prepare_batch
from pipelines.batch.run import run_batch
from pipelines.batch.summary import batch_summary
from pipelines.runs.exit_codes import EXIT_CODES
from pipelines.runs.settings import BatchSettings
from tests import launching
from tests.e2e.clouds import ROOT, SharedCloud
from tests.e2e.proxies import HoldingProxy
from tests.launching import Launched
from tests.local_settings import local_batch_settings
from tests.waiting import wait_until
from transforms.coders import TableRows
from transforms.ledger import Shard, State

pytestmark = pytest.mark.e2e


@dataclass(eq=False)
class LoseARow(beam.PTransform[PCollection[TableRows], PCollection[Shard]]):
    """WriteShards, but without one row of each shard."""

    write: beam.PTransform[PCollection[TableRows], PCollection[Shard]]

    def expand(self, rows: PCollection[TableRows]) -> PCollection[Shard]:
        lose = beam.MapTuple(lambda name, bucket, rows: (name, bucket, rows.slice(1))).with_output_types(TableRows)
        shards: PCollection[Shard] = rows | "Lose a row" >> lose | "Write the others" >> self.write
        return shards


@pytest.fixture
def warehouse(shared_cloud: SharedCloud) -> Iterator[Warehouse]:
    """The warehouse of a cloud that is empty for each test."""
    shared_cloud.empty()
    with shared_cloud.named(SERVICES):
        yield Warehouse("local-project", "US")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """50 customers, one of them twice, and one without an address."""
    lines = [f"c{number},c{number}@example.com" for number in range(50)]
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "customers.csv").write_text("\n".join(["customer_id,email", *lines, lines[0], "c50,"]))
    return folder


@pytest.fixture
def settings(warehouse: Warehouse, raw: Path) -> BatchSettings:
    return local_batch_settings(f"--input={raw}", "--run_id=gate")


def said(message: str) -> None:
    print(message)


def test_a_lost_row_breaks_the_ledger_and_nothing_is_loaded(warehouse: Warehouse, settings: BatchSettings) -> None:
    prepared = prepare_batch(settings, said)
    lossy = replace(prepared.batch, write_rows=LoseARow(prepared.batch.write_rows))
    with pytest.raises(Exception, match="does not balance"), beam.Pipeline(runner=FnApiRunner()) as pipeline:
        lossy.build(pipeline)
    summary = batch_summary(prepared, datetime.now(UTC) - timedelta(minutes=1), None, 0)
    assert summary.state is State.LEDGER_BROKEN
    assert EXIT_CODES[summary.state] == 3
    assert summary.why is not None
    assert "+1 records" in summary.why
    assert warehouse.query("SELECT 1 FROM ecommerce_data.customers") == []
    assert run_batch(settings, said).state is State.DONE
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50


@contextmanager
def started(raw: Path, *arguments: str, bigquery: str | None = None) -> Iterator[Launched]:
    """A launcher that runs a batch over `raw`, no longer than the block lasts."""
    storage = Storage("local-project")
    if not storage.bucket_exists("gs://bucket"):
        storage.client.create_bucket("bucket")
    launcher = launching.start(
        [
            "batch",
            "--project=local-project",
            "--location=US",
            f"--input={raw}",
            *("--processed=gs://bucket/processed", "--dead_letters=gs://bucket/dead_letters", *arguments),
        ],
        {**os.environ, **({"BIGQUERY_EMULATOR_HOST": bigquery} if bigquery else {})},
    )
    with launcher:
        try:
            yield launcher
        finally:
            launcher.kill()


def test_the_lease_is_held_until_the_run_ends(warehouse: Warehouse, raw: Path) -> None:
    leases = Leases(warehouse, "pipeline_operations")
    with (
        HoldingProxy(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy,
        started(raw, "--runner=DirectRunner", "--run_id=holder", bigquery=proxy.address) as launcher,
    ):
        proxy.hold(r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"run")(?=.*"value": ?"done")', after=False)
        assert proxy.held.wait(60)
        assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50
        assert [holder.run_id for holder in leases.holders(["ecommerce_data.customers"])] == ["holder"]
        proxy.release()
        launcher.communicate(timeout=60)
    assert launcher.returncode == 0
    assert leases.holders(["ecommerce_data.customers"]) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_run_cleanly(sent: signal.Signals, warehouse: Warehouse, raw: Path) -> None:
    with (
        HoldingProxy(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy,
        started(raw, "--runner=DirectRunner", f"--run_id=stopped_{sent.name}", bigquery=proxy.address) as launcher,
    ):
        proxy.hold("customers-load", after=False)
        assert proxy.held.wait(60)
        launcher.send_signal(sent)
        output, errors = launcher.communicate(timeout=30)
    assert (launcher.returncode, output) == (1, "")
    assert errors.endswith("interrupted; no table is half written, and the same --run_id continues the run\n")
    assert "Traceback" not in errors
    assert Leases(warehouse, "pipeline_operations").holders(["ecommerce_data.customers"]) == []
    with started(raw, "--runner=DirectRunner", f"--run_id=stopped_{sent.name}") as again:
        again.communicate(timeout=60)
    assert again.returncode == 0
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50


@contextmanager
def job_service(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Beam's own job service, which runs on FnApiRunner what is submitted to it: a runner outside the launcher."""
    port_file = folder / "port"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "apache_beam.runners.portability.local_job_service_main",
                f"--port_file={port_file}",
            ],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(port_file.exists, 30)
        yield f"localhost:{port_file.read_text()}"
    finally:
        server.terminate()
        server.wait(30)


def test_the_graph_finishes_without_its_launcher(warehouse: Warehouse, raw: Path, tmp_path: Path) -> None:
    """As on Dataflow: the launcher is killed before the first job of the load, and everything is done all the same."""
    with (
        HoldingProxy(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy,
        job_service(tmp_path, {"BIGQUERY_EMULATOR_HOST": proxy.address}) as endpoint,
    ):
        proxy.hold("dead_letters-load", after=False)
        with started(
            raw,
            "--runner=PortableRunner",
            f"--job_endpoint={endpoint}",
            "--run_id=left",
            "--environment_type=beam:env:embedded_python:v1",
        ) as launcher:
            assert proxy.held.wait(60)
            assert launcher.poll() is None  # and is killed here
        ledger = LedgerTable(warehouse, "pipeline_operations")
        assert ledger.lines("left", "staged") == ledger.lines("left", "run") == []
        proxy.release()
        wait_until(lambda: ledger.lines("left", "run"), 60)
        leases = Leases(warehouse, "pipeline_operations")
        wait_until(lambda: not leases.holders(["ecommerce_data.customers"]), 30)  # and before it could lapse
    assert [line["state"] for line in ledger.lines("left", "run")] == ["done"]
    (line,) = ledger.lines("left", "loaded")
    assert [line[door] for door in ("read", "written", "duplicate", "dead_letter")] == [52, 50, 1, 1]
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50
    assert len(warehouse.query("SELECT 1 FROM pipeline_operations.dead_letters")) == 1
    assert warehouse.tables("pipeline_operations", "staging_") == []
