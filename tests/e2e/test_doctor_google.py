"""What doctor finds in credentials, buckets, input, contracts, datasets, tables and leases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import bigquery

import launcher
from connectors.bigquery.table_spec import TableSpec
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.specs import spec_of
from connectors.files.storage import Storage
from contracts.bookkeeping import LEASES
from local.services import Endpoints
from tests.e2e.doctors import Doctor, doctor
from tests.e2e.proxies import Answer, ForbiddingProxy, Proxy

__all__ = ["doctor"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PLACE = ("--project=local-project", "--location=US")
FIELDS = (bigquery.SchemaField("customer_id", "STRING"), bigquery.SchemaField("email", "STRING"))


@pytest.fixture(scope="module")
def warehouse(local_cloud: tuple[Path, Endpoints]) -> Warehouse:
    """The module's cloud: bucket `bucket`, and what it is asked."""
    Storage("local-project").client.create_bucket("bucket")
    return Warehouse("local-project", "US")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No emulators, and nobody who would have credentials."""
    for name in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return monkeypatch


@pytest.mark.parametrize("named", [None, "/nowhere/key.json"])
def test_no_credentials(doctor: Doctor, nobody: pytest.MonkeyPatch, named: str | None) -> None:
    if named:
        nobody.setenv("GOOGLE_APPLICATION_CREDENTIALS", named)
    found = doctor(*PLACE, "--processed=gs://bucket/p", code=1)
    mark, says, _ = found["credentials"]
    assert mark == "wrong"
    assert says.startswith("no Google credentials: ")
    assert "gcloud auth application-default login creates them" in says
    assert named is None or named in says
    unchecked = ("not checked", "there are no credentials, see above", "")
    assert found["--processed gs://bucket/p"] == found["bigquery, datasets, tables"] == unchecked


class Tokens(Proxy):
    """Answers as Google's token server does, to a service account's key."""

    def __init__(self, status: int, content: dict[str, object]) -> None:
        self._answer = Answer(status, [("Content-Type", "application/json")], json.dumps(content).encode())
        super().__init__("http://127.0.0.1:1")

    def answer(self, request: str, body: bytes, forward: Any) -> Answer:
        return self._answer

    def key_file(self, folder: Path) -> Path:
        """A key whose tokens come from here."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = folder / "key.json"
        fields = {
            "type": "service_account",
            "project_id": "p",
            "private_key": key.decode(),
            "client_email": "etl@p.iam.gserviceaccount.com",
            "token_uri": f"{self.address}/token",
        }
        file.write_text(json.dumps(fields))
        return file


def test_credentials_that_google_takes_or_not(doctor: Doctor, nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusal: dict[str, object] = {"error": "invalid_grant", "error_description": "account not found"}
    with Tokens(400, refusal) as tokens:
        nobody.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tokens.key_file(tmp_path)))
        mark, says, _ = doctor("--project=p", code=1)["credentials"]
    assert mark == "wrong"
    assert "invalid_grant: account not found" in says
    with Tokens(200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}) as tokens:
        tokens.key_file(tmp_path)
        found = doctor("--project=p")["credentials"]
        assert found == ("ok", "etl@p.iam.gserviceaccount.com: Google takes them", "")


def test_half_an_emulator(doctor: Doctor, nobody: pytest.MonkeyPatch) -> None:
    nobody.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    half, none = doctor.all("--project=p")["credentials"]
    assert half == (
        "warning",
        "STORAGE_EMULATOR_HOST names an emulator, BIGQUERY_EMULATOR_HOST is not set: BigQuery is Google's",
    )
    assert none[0] == "wrong"


def test_a_bucket_that_is_not_there(doctor: Doctor, warehouse: Warehouse) -> None:
    found = doctor(*PLACE, "--dead_letters=gs://nowhere/d", code=1)["--dead_letters gs://nowhere/d"]
    assert found[:2] == ("wrong", "there is no bucket nowhere")
    assert "setup --bucket gs://nowhere --create_bucket" in found[2]


def test_a_folder_that_bigquery_cannot_load_from(doctor: Doctor, tmp_path: Path) -> None:
    found = doctor(f"--processed={tmp_path}", code=1)[f"--processed {tmp_path}"]
    assert found[:2] == ("wrong", "it must be a gs:// folder, for BigQuery loads from there")


class Permissions(Proxy):
    """Cloud Storage that grants `granted` in every bucket, which the local one cannot say."""

    def __init__(self, backend: str, *granted: str) -> None:
        self._content = json.dumps({"kind": "storage#testIamPermissionsResponse", "permissions": granted}).encode()
        super().__init__(backend)

    def answer(self, request: str, body: bytes, forward: Any) -> Answer:
        if "/iam/testPermissions" not in request:
            found = forward()
            assert isinstance(found, Answer)
            return found
        return Answer(200, [("Content-Type", "application/json")], self._content)


def test_permissions_in_a_bucket(
    doctor: Doctor, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = os.environ["STORAGE_EMULATOR_HOST"]
    reads = ("storage.objects.get", "storage.objects.list")
    with Permissions(backend, *reads) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        found = doctor(*PLACE, "--processed=gs://bucket/p", "--input=gs://bucket/raw", code=1)
    assert found["--processed gs://bucket/p"] == (
        "wrong",
        "no permission storage.objects.create, storage.objects.delete in bucket bucket",
        "give the caller roles/storage.objectAdmin on the bucket",
    )
    assert found["--input gs://bucket/raw"][0] == "ok"
    with ForbiddingProxy(backend, r"GET /storage/v1/b/bucket\?", "storage.buckets.get denied", "forbidden") as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        found = doctor(*PLACE, "--processed=gs://bucket/p", code=1)
    mark, says, _ = found["--processed gs://bucket/p"]
    assert (mark, says.endswith(": storage.buckets.get denied")) == ("wrong", True)


def test_files_of_the_tables(doctor: Doctor, tmp_path: Path) -> None:
    about = f"files in {tmp_path}"
    assert doctor(f"--input={tmp_path}", code=1)[about][0] == "wrong"
    (tmp_path / "customers.csv").write_text("customer_id,email\n")
    assert doctor(f"--input={tmp_path}")[about] == ("ok", "1, 18 bytes, of customers", "")
    (tmp_path / "notes.txt").write_text("x")
    found = doctor.all(f"--input={tmp_path}")
    assert ("warning", f"1 are not read, such as {tmp_path}/notes.txt: its name matches no table") in found[about]
    assert ("ok", "1, 18 bytes, of customers") in found[about]
    assert doctor(f"--input={tmp_path}/none", code=1)[f"--input {tmp_path}/none"][1] == "there is no such folder"


def test_contracts(doctor: Doctor, tmp_path: Path) -> None:
    found = doctor(f"--contracts={tmp_path}/none", code=1)["contracts"]
    assert found[:2] == ("wrong", f"--contracts: there is no folder {tmp_path}/none")
    (tmp_path / "x.odcs.yaml").write_text("schema: [")
    assert doctor(f"--contracts={tmp_path}", code=1)["contracts"][0] == "wrong"
    found = doctor("--tables=customers,nothing", code=1)["--tables"]
    assert found[1].startswith("no contract has a table nothing; there are customers")


def test_data_sets_and_tables(doctor: Doctor, warehouse: Warehouse) -> None:
    arguments = (*PLACE, "--tables=customers", "--dataset=shop", "--operations_dataset=shop_operations")
    found = doctor(*arguments)
    assert found["bigquery"] == ("ok", "project local-project, location US", "")
    assert found["dataset shop"][:2] == found["table shop.customers"][:2] == ("warning", "it does not exist")
    warehouse.ensure_dataset("shop")
    warehouse.ensure_table(TableSpec("shop", "customers", FIELDS))
    found = doctor(*arguments)
    assert found["dataset shop"] == ("ok", "in US", "")
    mark, says, fix = found["table shop.customers"]
    assert (mark, fix) == ("warning", "the next run adds them, for new rows")
    assert says.startswith("it lacks the columns first_name, ")
    assert (
        launcher.main(
            ["setup", "--bucket=gs://bucket", *PLACE, "--dataset=shop", "--operations_dataset=shop_operations"]
        )
        == 0
    )
    doctor.capsys.readouterr()
    found = doctor(*arguments)
    names = ("shop.customers", *(f"shop_operations.{n}" for n in ("ledger", "dead_letters", "leases", "write_streams")))
    assert {found[f"table {name}"] for name in names} == {("ok", "as its contract says", "")}
    assert found["leases"] == ("ok", "all of 2 are free", "")


def test_a_table_that_is_another(doctor: Doctor, warehouse: Warehouse) -> None:
    warehouse.ensure_dataset("old_shape")
    warehouse.update("CREATE TABLE old_shape.customers (customer_id INT64)")
    found = doctor(*PLACE, "--tables=customers", "--dataset=old_shape", code=1)["table old_shape.customers"]
    assert found[0] == "wrong"
    assert "column customer_id is INTEGER, the contract says STRING" in found[1]
    assert "change the contract" in found[2]


def test_a_data_set_in_another_location(doctor: Doctor, warehouse: Warehouse) -> None:
    Warehouse("local-project", "EU").ensure_dataset("far_away")
    found = doctor(*PLACE, "--dataset=far_away", code=1)["dataset far_away"]
    assert found[:2] == ("wrong", "dataset far_away is in EU, not in US: give --location=EU")


@pytest.mark.parametrize(
    ("pattern", "about", "permission"),
    [
        (r"POST .*/(jobs|queries)\b", "bigquery", "bigquery.jobs.create"),
        (r"GET .*/datasets/shop_denied(\?|$)", "dataset shop_denied", "bigquery.datasets.get"),
        (r"GET .*/datasets/shop_denied/tables/customers", "table shop_denied.customers", "bigquery.tables.get"),
    ],
)
def test_no_permission_in_bigquery(
    doctor: Doctor, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, pattern: str, about: str, permission: str
) -> None:
    message = f"Access Denied: Permission {permission} denied on it."
    with ForbiddingProxy(os.environ["BIGQUERY_EMULATOR_HOST"], pattern, message, "accessDenied") as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        found = doctor(*PLACE, "--tables=customers", "--dataset=shop_denied", code=1)
    mark, says, fix = found[about]
    assert (mark, message in says) == ("wrong", True)
    assert says.startswith("Google refuses (403): ")
    assert "roles/bigquery.dataEditor" in fix
    assert sum(mark == "wrong" for mark, *_ in found.values()) == 1


def test_a_lease_that_another_run_holds(doctor: Doctor, warehouse: Warehouse) -> None:
    warehouse.ensure_dataset("held_operations")
    warehouse.ensure_table(spec_of(LEASES, "held_operations"))
    leases = Leases(warehouse, "held_operations")
    assert leases.take(["held.customers"], "other", "token") is None
    with Heartbeat(leases, ["held.customers"], "token"):
        found = doctor(*PLACE, "--tables=customers", "--dataset=held", "--operations_dataset=held_operations")
    mark, says, fix = found["lease of held.customers"]
    assert (mark, fix) == ("warning", "another run is refused meanwhile: wait until it ends, or stop it")
    assert says.startswith("run other holds it until ")
