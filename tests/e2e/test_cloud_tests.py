"""The tests of tests/cloud are run as far as emulators go; and where they cannot run, nobody takes that for a pass."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.files.storage import Storage
from local.services import Endpoints
from tests.cloud.places import BUCKET, PROJECT, NoPlace, place_of
from tests.e2e.clouds import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
EMULATORS = ("BIGQUERY_EMULATOR_HOST", "BIGQUERY_STORAGE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST")


def cloud_tests(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run them as `make test-cloud` does; variables that are empty are not set."""
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "cloud", "-p", "no:cacheprovider", "tests/cloud", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=800,
        check=False,
    )


def test_they_pass_on_the_local_cloud_but_for_what_it_does_not_do(local_cloud: tuple[Path, Endpoints]) -> None:
    Storage("local-project").client.create_bucket("cloud-tests")
    done = cloud_tests(**{PROJECT: "local-project", BUCKET: "gs://cloud-tests"})
    assert done.returncode == 0, done.stdout
    assert f"against an EMULATOR: {PROJECT}=local-project {BUCKET}=gs://cloud-tests/shop_test_" in done.stdout
    outcome = done.stdout.splitlines()[-1]
    assert re.search(r"\d+ passed, (\d+ deselected, )?\d+ xfailed", outcome)
    assert "skipped" not in outcome
    assert list(Storage("local-project").client.list_blobs("cloud-tests")) == []  # all is cleared away


def test_every_test_of_the_folder_is_marked() -> None:
    for path in (ROOT / "tests" / "cloud").glob("test_*.py"):
        (marks,) = (
            ast.unparse(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        )
        assert "pytest.mark.cloud" in marks


def nobody(folder: Path) -> dict[str, str]:
    """The variables of someone without Google credentials."""
    return {
        **dict.fromkeys((*EMULATORS, "GOOGLE_APPLICATION_CREDENTIALS"), ""),
        "NO_GCE_CHECK": "true",
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder),
    }


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({BUCKET: "gs://b"}, f"{PROJECT} not set"),
        ({}, f"{PROJECT} and {BUCKET} not set"),
        ({PROJECT: "p"}, f"{BUCKET} not set"),
    ],
)
def test_what_is_not_set_is_said(variables: dict[str, str], why: str) -> None:
    with pytest.raises(NoPlace, match=re.escape(why)), place_of(variables):
        pass


def test_a_skip_is_no_pass(tmp_path: Path) -> None:
    done = cloud_tests(**nobody(tmp_path), **{PROJECT: "p", BUCKET: "gs://b"})
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "NOTHING WAS TESTED: no Google credentials: " in done.stdout
    assert " passed" not in done.stdout


@pytest.mark.parametrize("given", [[], ["PROJECT=p"], ["BUCKET=gs://b"]])
def test_make_asks_for_a_project_and_a_bucket(given: list[str]) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["make", "test-cloud", *given], cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: say where: make test-cloud PROJECT=my-project BUCKET=gs://my-bucket\n")
    assert done.stdout == ""


def test_make_runs_them_there_and_not_on_emulators() -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["make", "--dry-run", "test-cloud", "PROJECT=p", "BUCKET=gs://b"],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    command = done.stdout.replace("\\\n", "").splitlines()[-1].split()
    assert [command[at + 1] for at, word in enumerate(command) if word == "-u"] == list(EMULATORS)
    assert command[-8:] == [
        f'{PROJECT}="p"',
        f'{BUCKET}="gs://b"',
        ".venv/bin/python",
        "-m",
        "pytest",
        "-m",
        "cloud",
        "tests/cloud",
    ]
