"""The ledger's gate: a record that is lost on the way stops the load. And the graph alone is the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.parquet import WriteShards
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from pipelines.batch_run import EXIT_CODES, run_batch
from pipelines.options import OperationsOptions
from pipelines.preflight import prepare
from tests.e2e.clouds import cloud_in
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
def options(tmp_path: Path) -> PipelineOptions:
    lines = [f"c{number},c{number}@example.com" for number in range(50)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer_id,email", *lines]))
    return PipelineOptions(["--local", "--project=local-project", f"--input={tmp_path}", "--run_id=gate"])


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


def test_the_graph_alone_finishes(warehouse: Warehouse, options: PipelineOptions) -> None:
    prepared = prepare(options.view_as(OperationsOptions), "local-project", said)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    prepared.batch.build(pipeline, prepared.target)
    pipeline.run().wait_until_finish()
    assert [line["state"] for line in prepared.target.ledger.lines("gate", "run")] == ["done"]
    loaded = prepared.target.ledger.lines("gate", "loaded")
    assert [(line["table"], line["read"], line["written"]) for line in loaded] == [("customers", 50, 50)]
    assert len(warehouse.query("SELECT 1 FROM ecommerce_data.customers")) == 50
