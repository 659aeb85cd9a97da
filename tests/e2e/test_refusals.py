"""What is refused before a batch starts: places, permissions, another writer."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import launcher
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.specs import spec_of
from connectors.files.storage import Storage
from contracts.bookkeeping import LEASES
from local.services import Endpoints
from tests import launching
from tests.e2e.proxies import ForbiddingProxy

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def environment(local_cloud: tuple[Path, Endpoints]) -> dict[str, str]:
    Storage("local-project").client.create_bucket("bucket")
    return dict(os.environ)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "customers.csv").write_text("customer_id,email\nc1,c1@example.com\n")
    return folder


def refused(raw: Path, environment: dict[str, str], *arguments: str) -> str:
    """Run a batch that must be refused; what it said."""
    done = launching.run(
        [
            "batch",
            "--runner=DirectRunner",
            "--project=local-project",
            *("--location=US", f"--input={raw}", "--processed=gs://bucket/processed"),
            *("--dead_letters=gs://bucket/dead_letters", *arguments),
        ],
        environment,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_data_set_in_another_location(raw: Path, environment: dict[str, str]) -> None:
    Warehouse("local-project", "EU").ensure_dataset("far_away")
    assert "dataset far_away is in EU, not in US" in refused(raw, environment, "--dataset=far_away")


ACCOUNT = "etl@local-project.iam.gserviceaccount.com"
GCS_DENIED = f"{ACCOUNT} does not have %s access to the Google Cloud Storage %s. Permission '%s' denied on resource."
FORBIDDEN = {
    "storage.buckets.get": ("STORAGE", r"GET /storage/v1/b/bucket\?", "bucket"),
    "storage.objects.list": ("STORAGE", r"GET /storage/v1/b/bucket/o\?", "bucket"),
    "storage.objects.create": ("STORAGE", r"POST /upload/", "object"),
    "bigquery.datasets.create": ("BIGQUERY", r"POST .*/datasets\b(?!/)", "Project local-project"),
    "bigquery.tables.create": ("BIGQUERY", r"POST .*/tables\b", "Dataset local-project:denied"),
    "bigquery.jobs.create": ("BIGQUERY", r"POST .*/(jobs|queries)\b", "Project local-project"),
}
"""Permission: the server that asks for it, the requests that need it, the resource as its message names it."""


@pytest.mark.parametrize("permission", FORBIDDEN)
def test_no_permission(permission: str, raw: Path, environment: dict[str, str]) -> None:
    server, pattern, resource = FORBIDDEN[permission]
    if server == "STORAGE":
        message, reason = GCS_DENIED % (permission, resource, permission), "forbidden"
    else:
        message, reason = f"Access Denied: {resource}: Permission {permission} denied on it.", "accessDenied"
    variable = f"{server}_EMULATOR_HOST"
    arguments = ["--operations_dataset=denied", "--dataset=denied_data", "--processed=gs://bucket/denied"]
    if permission == "storage.objects.list":
        arguments.append("--input=gs://bucket/raw")
    with ForbiddingProxy(environment[variable], pattern, message, reason) as proxy:
        said = refused(raw, {**environment, variable: proxy.address}, *arguments)
    assert proxy.asked
    assert said.startswith("error: Google refuses (403): ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert list(Storage("local-project").list("gs://bucket/denied")) == []
    warehouse = Warehouse("local-project", "US")
    tables = warehouse.tables("denied", "ledger") if has_dataset(warehouse, "denied") else []
    assert not tables or warehouse.query("SELECT run_id FROM denied.ledger") == []


def has_dataset(warehouse: Warehouse, name: str) -> bool:
    return any(dataset.dataset_id == name for dataset in warehouse.client.list_datasets())


@pytest.mark.parametrize("named", [None, "/nowhere/key.json"])
def test_no_credentials(named: str | None, raw: Path, environment: dict[str, str], tmp_path: Path) -> None:
    nobody = {name: value for name, value in environment.items() if not name.endswith("_EMULATOR_HOST")}
    nobody |= {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    nobody.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    said = refused(raw, nobody | ({"GOOGLE_APPLICATION_CREDENTIALS": named} if named else {}))
    assert said.startswith("error: no Google credentials: ")
    assert named is None or named in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("server", ["BIGQUERY", "STORAGE"])
def test_a_service_that_does_not_answer_is_waited_for_and_another_try_may_help(
    server: str,
    raw: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pipelines.runs.availability.PATIENCE_SECONDS", 1.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv(f"{server}_EMULATOR_HOST", f"http://{address}")
    code = launcher.main(
        [
            *("batch", "--runner=DirectRunner", "--project=local-project", "--location=US", f"--input={raw}"),
            *("--processed=gs://bucket/processed", "--dead_letters=gs://bucket/dead_letters"),
        ]
    )
    first, *_, last = capsys.readouterr().err.splitlines()
    name = {"BIGQUERY": "BigQuery", "STORAGE": "Cloud Storage"}[server]
    assert first == f"{name}: no answer from {address}: Connection refused; asking again for 1 s"
    assert (code, last) == (5, f"error: no answer from {address}: Connection refused")


def test_a_bucket_that_does_not_exist(raw: Path, environment: dict[str, str]) -> None:
    assert "there is no bucket nowhere" in refused(raw, environment, "--processed=gs://nowhere/processed")


def test_a_name_that_would_break_out_of_its_quotes(raw: Path, environment: dict[str, str]) -> None:
    assert "is not a dataset name" in refused(raw, environment, "--operations_dataset=x`; DROP TABLE y")


def test_a_table_that_another_run_is_writing(raw: Path, environment: dict[str, str]) -> None:
    warehouse = Warehouse("local-project", "US")
    warehouse.ensure_dataset("pipeline_operations")
    warehouse.ensure_table(spec_of(LEASES, "pipeline_operations"))
    leases = Leases(warehouse, "pipeline_operations")
    table = "ecommerce_data.customers"
    assert leases.take([table], "other", "token") is None
    with Heartbeat(leases, [table], "token"):
        assert f"table {table} is being written by run other" in refused(raw, environment)
    assert leases.holders([table]) == []


def test_an_incompatible_table(raw: Path, environment: dict[str, str]) -> None:
    warehouse = Warehouse("local-project", "US")
    warehouse.ensure_dataset("old_shape")
    warehouse.update("CREATE TABLE old_shape.customers (customer_id INT64)")
    assert "column customer_id is INTEGER, the contract says STRING" in refused(raw, environment, "--dataset=old_shape")
