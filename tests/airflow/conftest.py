"""Fixtures of the tests of the DAGs: Airflow's own environment, a local cloud, an Airflow that uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import services
from tests import launching
from tests.airflow.airflows import Airflow, airflow_in
from tests.e2e.clouds import Cloud, cloud_in
from tests.e2e.inbox import Inbox, inbox
from tests.e2e.proxies import FailingProxy
from tools.airflow import ROOT, VENV


@pytest.fixture(scope="session")
def airflow_venv() -> Path:
    """Airflow's own environment; created now if it does not exist or its lock has changed."""
    installed = subprocess.run(
        [str(ROOT / "tools" / "install_airflow.sh"), sys.executable], text=True, capture_output=True, check=False
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return VENV


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud for this folder, since Airflow adds Kafka and a Flink cluster to it."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory):
        yield Cloud(directory)


@pytest.fixture(scope="package")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of raw files."""
    folder = tmp_path_factory.mktemp("raw")
    counts = ("--customers=200", "--products=100", "--transactions=2000", "--events=3000")
    assert launching.run(["generate", f"--output={folder}", *counts]).returncode == 0
    return folder


@pytest.fixture(scope="package")
def bigquery(cloud: Cloud) -> Iterator[FailingProxy]:
    """The cloud's BigQuery as Airflow and its launchers reach it: not available while it is `failing`."""
    with FailingProxy(services.status(cloud.directory).environment()["BIGQUERY_EMULATOR_HOST"]) as proxy:
        yield proxy


@pytest.fixture(scope="package")
def box() -> Iterator[Inbox]:
    """Where the launchers' notices go."""
    with inbox() as found:
        yield found


@pytest.fixture(scope="package")
def airflow(
    airflow_venv: Path,
    cloud: Cloud,
    raw: Path,
    bigquery: FailingProxy,
    box: Inbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Airflow]:
    """One Airflow for all tests of this folder. Its runs may name datasets and folders of the tests."""
    variables = {
        "SHOP_INPUT": str(raw),
        "SHOP_INPUT_ROOTS": f"gs://ecommerce-data-lake/raw {tmp_path_factory.getbasetemp()}",
        "SHOP_RUN_OPTIONS": "bootstrap_servers contracts dataset group_id operations_dataset topic",
        "SHOP_RETRY_SECONDS": "1",
        "SHOP_NOTIFY": "env:ALARMS_URL",
        "ALARMS_URL": box.url,
        "BIGQUERY_EMULATOR_HOST": bigquery.address,
        # The DAGs do not change: Airflow imports them once, and not every half minute.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    }
    with airflow_in(tmp_path_factory.mktemp("airflow"), cloud.directory, variables) as found:
        yield found
