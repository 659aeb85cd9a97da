"""What the tests of the Dags share: Airflow's own environment, a local cloud, an Airflow beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.airflows import Airflow, airflow_in
from tests.e2e.clouds import Cloud, cloud_in
from tools.airflow import ROOT, VENV


@pytest.fixture(scope="session")
def airflow_venv() -> Path:
    """Airflow's own environment; made now if it is absent or its lock has changed."""
    done = subprocess.run(
        [str(ROOT / "tools" / "install_airflow.sh"), sys.executable], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return VENV


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud for the module."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory):
        yield Cloud(directory)


@pytest.fixture(scope="module")
def raw(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of raw files."""
    folder = tmp_path_factory.mktemp("raw")
    cloud.launch("generate", f"--output={folder}", "--customers=200", "--products=100", "--transactions=2000",
                 "--events=3000")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def airflow(airflow_venv: Path, cloud: Cloud, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow beside the cloud."""
    variables = {"SHOP_INPUT": str(raw), "SHOP_RETRY_SECONDS": "1"}
    with airflow_in(tmp_path_factory.mktemp("airflow"), cloud.directory, variables) as found:
        yield found
