"""The batch DAG in a real Airflow (scheduler, operator, log) on a local cloud."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from google.api_core.exceptions import NotFound

from local import services
from tests import oracle
from tests.airflow.airflows import Airflow
from tests.e2e.clouds import Cloud
from tests.e2e.inbox import Inbox
from tests.e2e.proxies import FailingProxy
from tools.airflow import ROOT, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
DAG = "shop_batch"
DATE = "2026-11-23"
TABLES = ("customers", "products", "transactions", "user_events")
LATE = {"name": "freshness", "seconds": 59, "sql": "SELECT 60 AS seconds"}
UNKNOWN = {"name": "freshness", "seconds": 0, "problem": "no unit"}
CHANGED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("ledger", {"run_id": "no-such-run"}, "the ledger of no-such-run does not balance"),
    ("row_counts", {"tables": {name: {"written": 1} for name in TABLES}}, "of the 1 rows that the run wrote"),
    ("service_levels", {"tables": {"t": {"service_levels": [LATE]}}}, "t: freshness is 60 s, at most 59 s"),
    ("service_levels", {"tables": {"t": {"service_levels": [UNKNOWN]}}}, "cannot be measured: no unit"),
)
"""Checks that fail: a check, what differs from the summary of a run, and a part of the message."""


def rows_of(cloud: Cloud) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, with lineage, in a fixed order."""
    return {name: cloud.rows(f"SELECT * FROM ecommerce_data.{name} ORDER BY _source, _position") for name in TABLES}


def kill_launcher(cloud: Cloud) -> None:
    """Send SIGKILL to the launcher of the running batch once it has pinned its files."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            pinned = cloud.rows("SELECT DISTINCT run_id FROM pipeline_operations.ledger WHERE kind = 'input'")
        except NotFound:
            pinned = []
        for process in psutil.process_iter(["cmdline"]):
            arguments = process.info["cmdline"] or []
            if any(f"--run_id={line['run_id']}" in arguments for line in pinned):
                process.kill()
                return
        time.sleep(0.1)
    raise AssertionError("no launcher has pinned its files")


@pytest.fixture(scope="module")
def first(airflow: Airflow, cloud: Cloud) -> str:
    """The first run. The launcher of its first try is killed."""
    run = airflow.trigger(DAG, {"date": DATE})
    kill_launcher(cloud)
    state = airflow.wait(DAG, run)
    assert state == "success", airflow.tasks(DAG, run)
    return run


def test_the_dags_import_without_a_connection(airflow_venv: Path, tmp_path: Path) -> None:
    code = (
        "import json; from airflow.dag_processing.dagbag import DagBag;"
        f" bag = DagBag({str(ROOT / 'dags')!r});"
        " print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    done = subprocess.run(
        [str(airflow_venv / "bin" / "python"), "-c", code],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "dags")},
        text=True,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[DAG, "shop_stream"], {}]


def test_the_environment_has_no_beam(airflow_venv: Path) -> None:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('apache_beam') is not None)"
    assert subprocess.call([str(airflow_venv / "bin" / "python"), "-c", code]) == 0


def test_airflow_reports_no_import_error(airflow: Airflow) -> None:
    assert airflow.get("importErrors")["import_errors"] == []
    assert [listed["dag_id"] for listed in airflow.get("dags")["dags"]] == [DAG, "shop_stream"]


def test_a_killed_try_is_retried_and_completes_the_run(airflow: Airflow, cloud: Cloud, raw: Path, first: str) -> None:
    assert airflow.tries(DAG, first, "batch") == 2
    assert "return code -9" in airflow.log(DAG, first, "batch", 1)
    summary, expected = airflow.xcom(DAG, first, "summary"), oracle.expected(raw)
    found = {name: {key: table[key] for key in table} for name, table in summary["tables"].items()}
    assert found == {
        name: {
            "read": table.read,
            "written": len(table.rows),
            "duplicate": table.duplicate,
            "dead_letter": sum(table.by_code.values()),
            "dead_letter_by_code": dict(table.by_code),
        }
        for name, table in expected.items()
    }
    assert {name: len(rows) for name, rows in rows_of(cloud).items()} == {n: len(t.rows) for n, t in expected.items()}
    (run,) = cloud.rows("SELECT DISTINCT run_id FROM pipeline_operations.ledger")
    assert run["run_id"] == summary["run_id"]


def test_the_checks_query_the_warehouse(airflow: Airflow, cloud: Cloud, first: str) -> None:
    summary = airflow.xcom(DAG, first, "summary")
    assert airflow.xcom(DAG, first, "ledger") == sum(table["read"] for table in summary["tables"].values())
    held = {f"ecommerce_data.{name}": len(rows) for name, rows in rows_of(cloud).items()}
    assert airflow.xcom(DAG, first, "row_counts") == held
    assert set(airflow.xcom(DAG, first, "freshness")) == set(TABLES)
    assert airflow.xcom(DAG, first, "raw_files") == f"gs://ecommerce-data-lake/raw/{DATE}"


@pytest.fixture(scope="module")
def refusals(
    airflow_venv: Path, airflow: Airflow, cloud: Cloud, first: str, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """The error of each check of CHANGED, of the first run's summary with its change; empty if there is none."""
    summary = airflow.xcom(DAG, first, "summary")
    code = dedent("""\
        import json, sys, shop_checks
        def error(check, summary):
            try:
                getattr(shop_checks, check).function(summary)
            except Exception as failed:
                return str(failed)
            return ""
        print(json.dumps([error(*each) for each in json.load(sys.stdin)]))
        """)
    home = tmp_path_factory.mktemp("checks")
    done = subprocess.run(
        [str(airflow_venv / "bin" / "python"), "-c", code],
        input=json.dumps([(check, summary | change) for check, change, _ in CHANGED]),
        text=True,
        capture_output=True,
        env=environment(home, services.status(cloud.directory), 0) | {"PYTHONPATH": str(ROOT / "dags")},
        check=True,
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("number", range(len(CHANGED)), ids=[f"{check} {message}" for check, _, message in CHANGED])
def test_a_check_fails_if_the_warehouse_differs(refusals: list[str], number: int) -> None:
    assert CHANGED[number][2] in refusals[number]


def test_a_second_run_changes_no_row_although_bigquery_fails_at_its_first_try(
    airflow: Airflow, cloud: Cloud, bigquery: FailingProxy, first: str
) -> None:
    before = rows_of(cloud)
    bigquery.failing.set()
    try:
        run = airflow.trigger(DAG, {"date": DATE})
        airflow.wait_for_retry(DAG, run, "batch")
    finally:
        bigquery.failing.clear()
    assert airflow.wait(DAG, run) == "success", airflow.tasks(DAG, run)
    assert airflow.tries(DAG, run, "batch") == 2
    log = airflow.log(DAG, run, "batch", 1)
    assert "return code 5" in log
    assert "BigQuery: Google does not answer (503)" in log
    assert "asking again for 30 s" in log
    again, summary = airflow.xcom(DAG, run, "summary"), airflow.xcom(DAG, first, "summary")
    assert again["run_id"] != summary["run_id"]
    assert {name: table["written"] for name, table in again["tables"].items()} == dict.fromkeys(TABLES, 0)
    assert {name: table["read"] for name, table in again["tables"].items()} == {
        name: table["read"] for name, table in summary["tables"].items()
    }
    assert rows_of(cloud) == before


def test_too_many_dead_letters_fail_the_run_with_the_launchers_code_and_message(
    airflow: Airflow, cloud: Cloud, box: Inbox, first: str, tmp_path: Path
) -> None:
    box.take()
    cloud.launch(
        "generate",
        f"--output={tmp_path}",
        "--customers=200",
        "--products=150",
        "--transactions=200",
        "--events=200",
        "--dirty=0.5",
    )
    before = rows_of(cloud)
    run = airflow.trigger(DAG, {"input": str(tmp_path), "date": "2026-11-22", "tables": ["orders"]})
    assert airflow.wait(DAG, run) == "failed"
    states = airflow.tasks(DAG, run)
    assert states["batch"] == "failed"
    assert states["summary"] == "success"
    assert states["dead_letters"] == "failed"
    assert states["ledger"] == states["row_counts"] == "upstream_failed"
    assert airflow.tries(DAG, run, "batch") == 1, "a final code is not retried"
    log = airflow.log(DAG, run, "batch")
    assert "return code 4" in log
    assert "too many dead letters" in log
    assert ["too_many_dead_letters: run " in text for text in box.take()] == [True], "the launcher has sent it"
    assert "notices sent: 0 new, 0 over" in log, "and the callback has looked"
    assert airflow.xcom(DAG, run, "summary")["why"] in " ".join(log.split()), "the log may wrap the message"
    assert "more dead letters than 10.00%" in airflow.log(DAG, run, "dead_letters")
    assert "orders was never loaded" in airflow.log(DAG, run, "freshness")
    assert rows_of(cloud) == before


def test_wrong_usage_fails_the_run_with_the_launchers_code_and_message(airflow: Airflow, first: str) -> None:
    run = airflow.trigger(DAG, {"date": DATE, "options": {"max_record_bytes": 0}})
    assert airflow.wait(DAG, run) == "failed"
    log = airflow.log(DAG, run, "batch")
    assert "return code 2" in log
    assert "--max_record_bytes must be at least 1" in log
    assert airflow.tries(DAG, run, "batch") == 1
    assert "the log of the launcher's task says why" in airflow.log(DAG, run, "summary")


@pytest.mark.parametrize(
    ("params", "task", "message"),
    [
        ({"options": {"prism_location": "/bin/sh"}}, "options", "options: a run may not set 'prism_location'"),
        ({"input": "/etc"}, "raw_files", "input: /etc is not below gs://ecommerce-data-lake/raw or "),
    ],
)
def test_a_request_that_is_not_allowed_starts_nothing(
    airflow: Airflow, first: str, params: dict[str, Any], task: str, message: str
) -> None:
    run = airflow.trigger(DAG, {"date": DATE, **params})
    assert airflow.wait(DAG, run) == "failed"
    assert message in airflow.log(DAG, run, task)
    assert airflow.tries(DAG, run, task) == 1, "it is not retried"
    assert airflow.tasks(DAG, run)["batch"] == "upstream_failed"
