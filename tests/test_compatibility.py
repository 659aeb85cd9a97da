"""compatibility.md has the versions of the lock files, and `make platforms` takes what a platform installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from local.programs.java import VERSIONS as JAVA
from tests.test_docs import ROOT, rows
from tools.platforms import PLATFORMS, PYTHONS, SOURCE_ONLY, command, wanted

LOCK = (ROOT / "requirements.lock").read_text()
PAGE = "reference/compatibility.md"


def locked(name: str, lock: str = LOCK) -> str:
    """The version of a package that each platform installs."""
    (version,) = re.findall(rf"^{name}==(\S+) \\$", lock, re.MULTILINE)
    return str(version)


def jar(program: str, coordinates: str) -> str:
    """The locked version of a jar."""
    jars = tomllib.loads((ROOT / f"local/programs/{program}.lock.toml").read_text())["sha256"]
    (version,) = {name.split(":")[2] for name in jars if name.startswith(f"{coordinates}:")}
    return str(version)


def test_the_versions_are_those_of_the_lock_files() -> None:
    documented = rows(PAGE, "part")
    airflow = (ROOT / "deploy/airflow/requirements.lock").read_text()
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    said = {
        "Apache Beam": [locked("apache-beam")],
        "Kafka, broker": [
            jar("kafka", "org.apache.kafka:kafka_2.13"),
            locked("kafka-python"),
            jar("kafka-io", "org.apache.kafka:kafka-clients"),
        ],
        "Beam's Kafka half (Java)": [jar("kafka-io", "org.apache.beam:beam-sdks-java-io-kafka")],
        "Flink, cluster": [jar("flink", "org.apache.flink:flink-runtime")],
        "Beam's job server for Flink": [jar("flink", "org.apache.beam:beam-runners-flink-1.19")],
        "Java": [f"{JAVA.start} to {JAVA.stop - 1}"],
        "Airflow": [locked("apache-airflow", airflow)],
        "BigQuery, Cloud Storage": [f"bqemulator {locked('bqemulator')}"],
        "Python": [f"{PYTHONS[0]} to {PYTHONS[-1]}"],
    }
    for part, versions in said.items():
        for version in versions:
            assert version in " ".join(documented[part][:2]), part
    assert python == f">={PYTHONS[0]},<3.{int(PYTHONS[-1].split('.')[1]) + 1}"


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_a_platform_of_the_page_is_one_that_make_platforms_checks(platform: object) -> None:
    name = getattr(platform, "name", "")
    assert rows(PAGE, "platform")[name] == ["never run; every locked package has a wheel"]


def test_a_platform_installs_what_its_markers_let_through() -> None:
    linux, macos = PLATFORMS
    lock = (
        "# made by a tool\n"
        "a==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n    # via b\n"
        "b==2 ; sys_platform == 'linux' \\\n    --hash=sha256:ba\n"
        "c==3 ; python_full_version < '3.12' \\\n    --hash=sha256:ca\n"
        "d==4 ; sys_platform == 'win32' \\\n    --hash=sha256:da\n"
    )
    assert re.findall(r"^\w==\d", wanted(lock, linux, "3.11"), re.MULTILINE) == ["a==1", "b==2", "c==3"]
    assert wanted(lock, macos, "3.12") == "a==1 --hash=sha256:aa \\\n    --hash=sha256:ab\n"


def test_only_what_make_install_builds_may_come_as_source() -> None:
    assert f"--no-binary={','.join(SOURCE_ONLY)}" in command(PLATFORMS[0], "3.12", Path("lock"), "target")
    assert "google-apitools is published as source only" in (ROOT / "Makefile").read_text()
    assert SOURCE_ONLY == ("google-apitools",)


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(project['version'])} \(\d{{4}}-\d\d-\d\d\)", headings[1])
    assert set(re.findall(r"contract-pipeline-\w+:(\S+)", (ROOT / "docs/how-to/deploy/kubernetes.md").read_text())) == {
        project["version"]
    }
