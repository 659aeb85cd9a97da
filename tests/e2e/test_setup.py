"""`launcher.py setup`: bucket, folders, datasets and tables, made once; or the statements that would make them."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import bigquery

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations, kept_since
from connectors.bookkeeping.specs import operations_specs
from connectors.files.storage import Storage
from connectors.sinks.destination import table_spec
from contracts.odcs.tables import shipped
from tests.e2e.clouds import Cloud
from tests.e2e.proxies import RecordingProxy

pytestmark = pytest.mark.e2e
PLACE = ("--project=local-project", "--location=US")
OPERATIONS = [
    "dead_letters",
    "dead_letters_current",
    "heartbeats",
    "leases",
    "ledger",
    "ledger_current",
    "notices",
    "replayed_dead_letters",
    "write_streams",
]


def data_sets(warehouse: Warehouse) -> dict[str, list[str]]:
    """The tables of each dataset."""
    names = [dataset.dataset_id for dataset in warehouse.client.list_datasets()]
    return {name: sorted(warehouse.tables(name, "")) for name in names}


@pytest.fixture
def warehouse(cloud: Cloud) -> Warehouse:
    return Warehouse("local-project", "US")


def test_a_bucket_that_does_not_exist_is_not_made_unasked(cloud: Cloud, warehouse: Warehouse) -> None:
    before = data_sets(warehouse)
    done = cloud.launch("setup", "--bucket=gs://missing", *PLACE, code=2)
    assert done.stderr == "error: there is no bucket gs://missing; --create_bucket makes it\n"
    assert not Storage("local-project").bucket_exists("gs://missing")
    assert data_sets(warehouse) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bucket=gs://b"], "--project, --location are missing"),
        (PLACE, "--bucket is missing: gs://BUCKET"),
        (["--bucket=b", *PLACE], "--bucket is missing: gs://BUCKET"),
    ],
)
def test_what_is_missing_is_named(cloud: Cloud, arguments: list[str], said: str) -> None:
    assert said in cloud.launch("setup", *arguments, code=2).stderr


def test_setup_makes_everything_and_may_run_twice(
    cloud: Cloud, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("setup", "--bucket=gs://fresh", "--create_bucket", *PLACE)
    with RecordingProxy(os.environ["STORAGE_EMULATOR_HOST"]) as proxy, monkeypatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        first = cloud.launch(*arguments).stderr
    # The emulator keeps no object whose name ends with a slash.
    uploads = b"".join(
        body for request, body in proxy.requests if request.startswith("POST /upload/storage/v1/b/fresh/")
    )
    assert re.findall(rb'"name": ?"([^"]+)"', uploads) == [b"raw/", b"processed/", b"dead_letters/"]
    assert "bucket gs://fresh\n" in first
    made = {name: tables for name, tables in data_sets(warehouse).items() if not name.startswith("dry")}
    assert made == {
        "ecommerce_data": ["customers", "products", "transactions", "user_events"],
        "ecommerce_streaming": ["transactions_streaming", "user_events_streaming"],
        "pipeline_operations": OPERATIONS,
    }
    Storage("local-project").write("gs://fresh/raw/customers.csv", b"customer_id,email\n")
    warehouse.update(
        "INSERT INTO pipeline_operations.leases (`table`) VALUES ('a table that a second setup must not lose')"
    )
    second = cloud.launch(*arguments).stderr
    assert second == first.replace("bucket gs://fresh\n", "")
    assert {name: tables for name, tables in data_sets(warehouse).items() if not name.startswith("dry")} == made
    assert Storage("local-project").read("gs://fresh/raw/customers.csv") == b"customer_id,email\n"
    assert len(warehouse.query("SELECT 1 FROM pipeline_operations.leases")) == 1


def test_a_dry_run_prints_what_bigquery_accepts_and_does_nothing(cloud: Cloud, warehouse: Warehouse) -> None:
    before = data_sets(warehouse)
    names = ("--dataset=dry", "--operations_dataset=dry_operations")
    script = cloud.launch("setup", "--dry_run", *names, *PLACE).stdout
    assert data_sets(warehouse) == before
    statements = script.removesuffix(";\n").split(";\n\n")
    for _ in range(2):
        for statement in statements:
            warehouse.query(statement)
    made = data_sets(warehouse)
    assert made["dry_operations"] == OPERATIONS
    assert made["dry"] == sorted(shipped())
    specs = [table_spec(table, "dry") for table in shipped().values()] + operations_specs("dry_operations")
    for spec in specs:
        # Of a statement the emulator forgets PARTITION BY and CLUSTER BY, and takes JSON for STRING.
        table = warehouse.existing(spec.dataset, spec.name)
        assert table is not None
        assert [(f.name, f.mode) for f in table.schema] == [(f.name, f.mode) for f in spec.schema]
    assert warehouse.query("SELECT * FROM dry_operations.ledger_current") == []


def test_an_upgrade_adds_columns_and_replaces_views_and_keeps_rows(cloud: Cloud, warehouse: Warehouse) -> None:
    # docs/how-to/upgrade.md: an operations dataset whose ledger has the columns of an older version, and one row.
    dataset = "operations_of_before"
    (ledger,) = (spec for spec in operations_specs(dataset) if spec.name == "ledger")
    older = [field for field in ledger.schema if field.name != "first_recorded_at"]
    warehouse.ensure_dataset(dataset)
    table = bigquery.Table(warehouse.reference(dataset, "ledger"), schema=older)
    table.time_partitioning, table.clustering_fields = ledger.partitioning, ["run_id"]
    warehouse.client.create_table(table)
    view = bigquery.Table(warehouse.reference(dataset, "ledger_current"))
    view.view_query = f"SELECT * FROM `local-project.{dataset}.ledger`"
    warehouse.client.create_table(view)
    insert = (
        f"INSERT INTO {dataset}.ledger (run_id, pipeline, kind, recorded_at) VALUES ('r', 'batch', 'run', @recorded_at)"
    )
    recorded_at = bigquery.ScalarQueryParameter("recorded_at", "TIMESTAMP", "2026-01-31T00:00:00Z")
    warehouse.client.query_and_wait(insert, job_config=bigquery.QueryJobConfig(query_parameters=[recorded_at]))
    for _ in range(2):
        ensure_operations(warehouse, dataset)
        assert sorted(warehouse.tables(dataset, "")) == OPERATIONS
        upgraded = warehouse.client.get_table(warehouse.reference(dataset, "ledger"))
        assert [field.name for field in upgraded.schema] == [*(field.name for field in older), "first_recorded_at"]
        (line,) = warehouse.client.query_and_wait(f"SELECT run_id, shared FROM {dataset}.ledger_current")
        assert line.run_id == "r"  # and the column `shared` is only in the view of today
        assert [(row.run_id, row.first_recorded_at) for row in warehouse.client.list_rows(upgraded)] == [("r", None)]


def kept(warehouse: Warehouse, name: str) -> float:
    """After how many days BigQuery drops a partition."""
    return float(warehouse.existing("kept", name).time_partitioning.expiration_ms) / 86_400_000


def test_how_long_the_books_are_kept(cloud: Cloud, warehouse: Warehouse) -> None:
    place = ("setup", "--bucket=gs://kept", "--create_bucket", "--operations_dataset=kept", *PLACE)
    cloud.launch(*place, "--dead_letter_days=90", "--ledger_days=400")
    wanted = {"dead_letters": 90, "replayed_dead_letters": 90, "ledger": 400, "heartbeats": 3}
    for arguments in ((), ("--ledger_days=500",)):
        assert {name: kept(warehouse, name) for name in wanted} == wanted
        cloud.launch(*place, *arguments)  # what is not named stays
    assert kept(warehouse, "ledger") == 500
    now = datetime.now(UTC)
    assert kept_since(warehouse, "kept", now) == now - timedelta(days=89)
    assert kept_since(warehouse, "dry_operations", now) is None
    said = cloud.launch("reconcile", "--days=100", "--operations_dataset=kept", *PLACE, code=2).stderr
    assert f"kept is kept for a limited time: comparing what is since {now - timedelta(days=89):%Y-%m-%d}" in said
    said = cloud.launch(*place, "--ledger_days=34", code=2).stderr
    assert "--ledger_days: 34: at least 35: reconcile and replay read 30 days of it" in said
    done = cloud.launch(*place, "--dry_run", "--dead_letter_days=90")
    assert done.stdout.count("partition_expiration_days = 90") == 2
