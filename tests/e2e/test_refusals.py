"""What is refused before a batch starts: places, permissions, another writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from connectors.leases import Heartbeat, Leases, leases_spec
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from local.services import Endpoints

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


class Forbidding(BaseHTTPRequestHandler):
    """Answers as BigQuery does where the caller has no permission."""

    def answer(self) -> None:
        error = {"code": 403, "message": "Access Denied: Dataset p:d: Permission bigquery.datasets.get denied"}
        body = json.dumps({"error": {**error, "errors": [{"reason": "accessDenied", **error}], "status": "x"}}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: object) -> None:
        return


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
    done = subprocess.run(
        [
            *(sys.executable, "launcher.py", "batch", "--runner=DirectRunner", "--project=local-project"),
            *("--location=US", f"--input={raw}", "--processed=gs://bucket/processed"),
            *("--dead_letters=gs://bucket/dead_letters", *arguments),
        ],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_data_set_in_another_location(raw: Path, environment: dict[str, str]) -> None:
    Warehouse("local-project", "EU").ensure_dataset("far_away")
    assert "data set far_away is in EU, not in US" in refused(raw, environment, "--dataset=far_away")


def test_no_permission(raw: Path, environment: dict[str, str]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        said = refused(raw, {**environment, "BIGQUERY_EMULATOR_HOST": address})
    finally:
        server.shutdown()
        server.server_close()
    assert "Permission bigquery.datasets.get denied" in said


def test_a_bucket_that_does_not_exist(raw: Path, environment: dict[str, str]) -> None:
    assert "there is no bucket nowhere" in refused(raw, environment, "--processed=gs://nowhere/processed")


def test_a_name_that_would_break_out_of_its_quotes(raw: Path, environment: dict[str, str]) -> None:
    assert "is no name of a data set" in refused(raw, environment, "--operations_dataset=x`; DROP TABLE y")


def test_a_table_that_another_run_is_writing(raw: Path, environment: dict[str, str]) -> None:
    warehouse = Warehouse("local-project", "US")
    warehouse.ensure_dataset("pipeline_operations")
    warehouse.ensure_table(leases_spec("pipeline_operations"))
    leases = Leases(warehouse, "pipeline_operations")
    table = "ecommerce_data.customers"
    assert leases.take(table, "other", "token") is None
    with Heartbeat(leases, [table], "token"):
        assert f"table {table} is being written by run other" in refused(raw, environment)
    assert leases.holders([table]) == []


def test_an_incompatible_table(raw: Path, environment: dict[str, str]) -> None:
    warehouse = Warehouse("local-project", "US")
    warehouse.ensure_dataset("old_shape")
    warehouse.update("CREATE TABLE old_shape.customers (customer_id INT64)")
    assert "column customer_id is INTEGER, the contract says STRING" in refused(raw, environment, "--dataset=old_shape")
