"""The ledger's gate: a record that is lost on the way stops the load. And the graph alone is the whole run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from connectors.leases import Leases
from connectors.ledger_table import LedgerTable
from connectors.parquet import WriteShards
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from pipelines.batch_run import EXIT_CODES, run_batch
from pipelines.options import OperationsOptions
from pipelines.preflight import prepare
from tests.e2e.clouds import ROOT, cloud_in
from tests.e2e.proxies import HoldingProxy
from transforms.ledger import Shard, State

pytestmark = pytest.mark.e2e


class LosesARow(beam.DoFn):
    """WriteShards, but for one row of each shard."""

    def __init__(self, writer: WriteShards) -> None:
        self._writer = writer

    def process(self, element: tuple[str, int, pl.DataFrame]) -> Iterator[Shard]:
        name, bucket, rows = element
        yield from self._writer.process((name, bucket, rows.slice(1)))


@pytest.fixture
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with cloud_in(tmp_path_factory.mktemp("cloud")):
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
def options(raw: Path) -> PipelineOptions:
    return PipelineOptions(["--local", "--project=local-project", f"--input={raw}", "--run_id=gate"])


def said(message: str) -> None:
    print(message)


def test_a_lost_row_breaks_the_ledger_and_nothing_is_loaded(warehouse: Warehouse, options: PipelineOptions) -> None:
    prepared = prepare(options.view_as(OperationsOptions), "local-project", said)
    writer = WriteShards(prepared.batch.run, Storage("local-project"))
    found = run_batch(options, said, LosesARow(writer))
    assert found["state"] == "ledger_broken"
    assert EXIT_CODES[State(found["state"])] == 3
    assert "+1 records" in found["why"]
    assert warehouse.query("SELECT 1 FROM ecommerce_data.customers") == []
    assert run_batch(options, said)["state"] == "done"
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50


@contextmanager
def started(raw: Path, *arguments: str, bigquery: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher that runs a batch over `raw`, no longer than the block lasts."""
    storage = Storage("local-project")
    if not storage.bucket_exists("gs://bucket"):
        storage.client.create_bucket("bucket")
    launcher = subprocess.Popen(
        [
            *(sys.executable, "launcher.py", "batch", "--project=local-project", "--location=US", f"--input={raw}"),
            *("--processed=gs://bucket/processed", "--dead_letters=gs://bucket/dead_letters", *arguments),
        ],
        cwd=ROOT,
        env={**os.environ, **({"BIGQUERY_EMULATOR_HOST": bigquery} if bigquery else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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
        started(raw, "--runner=DirectRunner", "--run_id=stopped", bigquery=proxy.address) as launcher,
    ):
        proxy.hold("customers-load", after=False)
        assert proxy.held.wait(60)
        launcher.send_signal(sent)
        output, errors = launcher.communicate(timeout=30)
    assert (launcher.returncode, output) == (1, b"")
    assert errors.endswith(b"interrupted; nothing is half written, and the same --run_id goes on where this stopped\n")
    assert b"Traceback" not in errors
    assert Leases(warehouse, "pipeline_operations").holders(["ecommerce_data.customers"]) == []
    with started(raw, "--runner=DirectRunner", "--run_id=stopped") as again:
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
        wait_for(port_file.exists, 30)
        yield f"localhost:{port_file.read_text()}"
    finally:
        server.terminate()
        server.wait(30)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_graph_finishes_without_its_launcher(warehouse: Warehouse, raw: Path, tmp_path: Path) -> None:
    """As on Dataflow: the launcher is killed before the first job of the load, and everything is done all the same."""
    with (
        HoldingProxy(os.environ["BIGQUERY_EMULATOR_HOST"]) as proxy,
        job_service(tmp_path, {"BIGQUERY_EMULATOR_HOST": proxy.address}) as endpoint,
    ):
        proxy.hold("dead_letters-load", after=False)
        with started(
            raw, "--runner=PortableRunner", f"--job_endpoint={endpoint}", "--run_id=left",
            "--environment_type=beam:env:embedded_python:v1",
        ) as launcher:  # fmt: skip
            assert proxy.held.wait(60)
            assert launcher.poll() is None  # and is killed here
        ledger = LedgerTable(warehouse, "pipeline_operations")
        assert ledger.lines("left", "staged") == ledger.lines("left", "run") == []
        proxy.release()
        wait_for(lambda: ledger.lines("left", "run"), 60)
        leases = Leases(warehouse, "pipeline_operations")
        wait_for(lambda: not leases.holders(["ecommerce_data.customers"]), 30)  # and before it could lapse
    assert [line["state"] for line in ledger.lines("left", "run")] == ["done"]
    (line,) = ledger.lines("left", "loaded")
    assert [line[door] for door in ("read", "written", "duplicate", "dead_letter")] == [52, 50, 1, 1]
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50
    assert len(warehouse.query("SELECT 1 FROM pipeline_operations.dead_letters")) == 1
    assert warehouse.tables("pipeline_operations", "staging_") == []
