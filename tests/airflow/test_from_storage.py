"""The second way to give Airflow the launcher: launcher.py from gs://, the rest as a wheel in py_requirements."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.files.storage import Storage
from local import services
from local.services import Endpoints
from tests import oracle
from tests.e2e.clouds import Cloud
from tools.airflow import BUCKET, ROOT, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
LAUNCHER = f"{BUCKET}/code/launcher.py"


@pytest.fixture(scope="module")
def cloud(local_cloud: tuple[Path, Endpoints]) -> Cloud:
    """A cloud where no batch has run."""
    return Cloud(local_cloud[0])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy because building leaves files behind."""
    source, built = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    excluded = shutil.ignore_patterns(".*", "tests", "docs", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=excluded)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(built), str(source)], check=True)
    (wheel,) = built.glob("*.whl")
    return wheel


def test_a_launcher_from_storage_runs_in_an_environment_with_the_wheel(
    airflow_venv: Path, cloud: Cloud, raw: Path, wheel: Path, tmp_path: Path
) -> None:
    cloud.launch("setup", "--local")
    Storage("local-project").write(LAUNCHER, (ROOT / "launcher.py").read_bytes())
    variables = {
        **environment(tmp_path, services.status(cloud.directory), 0),
        "SHOP_LAUNCHER": LAUNCHER,
        "SHOP_REQUIREMENTS": str(wheel),
        "SHOP_PYTHON": str(airflow_venv / "bin" / "python"),
        "SHOP_INPUT": str(raw),
        # The versions of the lock file, and the packages that were downloaded before.
        "UV_CONSTRAINT": str(ROOT / "requirements.lock"),
        "UV_CACHE_DIR": str(ROOT / ".airflow" / "uv"),
    }
    command = str(airflow_venv / "bin" / "airflow")
    subprocess.run([command, "db", "migrate"], env=variables, check=True, capture_output=True)
    run = subprocess.run(
        [command, "dags", "test", "shop_batch", "--conf", json.dumps({"date": "2026-11-23"})],
        env=variables,
        text=True,
        capture_output=True,
        check=False,
        timeout=600,
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0, output[-8000:]
    assert f"{wheel}" in output
    assert "Beam version: 2.77" in output
    written = {
        line["name"]: line["written"]
        for line in cloud.rows(
            "SELECT `table` AS name, SUM(written) AS written FROM pipeline_operations.ledger_current"
            " WHERE kind = 'loaded' GROUP BY 1"
        )
    }
    assert written == {name: len(table.rows) for name, table in oracle.expected(raw).items()}
