"""The skeleton: the check of the machine, the Makefile's targets, the lock file, what a Dataflow worker installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def check_machine(path: Path, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs tools/check_machine.sh in `path`, with nothing on PATH but what stands there."""
    for tool in ("awk", "df", "sh"):
        real = shutil.which(tool)
        if not (path / tool).exists():
            assert real is not None
            (path / tool).symlink_to(real)
    return subprocess.run(
        [str(ROOT / "tools/check_machine.sh"), *arguments],
        cwd=path,
        env={"PATH": str(path), "HOME": str(home or path)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def fake(python: Path, answer: str, code: int = 0) -> None:
    """An interpreter that gives `answer`, whatever it is asked."""
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    python.chmod(0o755)


def test_the_python_that_runs_these_tests_is_fit(tmp_path: Path) -> None:
    found = check_machine(tmp_path, sys.executable)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{sys.executable}\n", "")


def test_a_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    fake(tmp_path / "python3.12", "pyenv: python3.12: command not found", 127)
    fake(tmp_path / "python3.11", "3.11.7 yes")
    assert check_machine(tmp_path).stdout == "python3.11\n"


def test_a_python_without_venv_is_passed_over_if_another_has_it(tmp_path: Path) -> None:
    fake(tmp_path / "python3.12", "3.12.1 no")
    fake(tmp_path / "python3", "3.11.7 yes")
    assert check_machine(tmp_path).stdout == "python3\n"


def test_the_newest_python_is_taken_unless_the_oldest_is_asked_for(tmp_path: Path) -> None:
    fake(tmp_path / "python3.11", "3.11.7 yes")
    fake(tmp_path / "python3.13", "3.13.0 no")
    fake(tmp_path / "python3", "3.12.1 yes")
    newest, oldest = tmp_path / ".pyenv/versions/3.14.2/bin/python3", tmp_path / ".pyenv/versions/3.11.9/bin/python3"
    fake(newest, "3.14.2 yes")
    fake(oldest, "3.11.9 yes")
    fake(tmp_path / ".pyenv/versions/3.10.1/bin/python3", "3.10.1 yes")
    for arguments in ((), ("",), ("newest",)):
        assert check_machine(tmp_path, *arguments).stdout == f"{newest}\n"
    assert check_machine(tmp_path, "oldest").stdout == "python3.11\n"


def test_a_python_that_pyenv_has_but_does_not_select_is_found(tmp_path: Path) -> None:
    fake(tmp_path / "python3", "3.15.0 yes")
    fake(tmp_path / ".pyenv/versions/3.12.1/bin/python3", "3.12.1 yes")
    assert check_machine(tmp_path).stdout == f"{tmp_path}/.pyenv/versions/3.12.1/bin/python3\n"


def test_a_python_behind_a_shim_is_found_from_an_empty_home(tmp_path: Path) -> None:
    shims = tmp_path / "root/shims"
    fake(shims / "python3.11", "pyenv: python3.11: command not found", 127)
    fake(tmp_path / "root/versions/3.11.7/bin/python3", "3.11.7 yes")
    assert check_machine(shims, home=tmp_path / "nobody").stdout.endswith("root/versions/3.11.7/bin/python3\n")


@pytest.mark.parametrize(
    ("pythons", "message"),
    [
        ({}, r"Python 3\.11 to 3\.14 is needed; no Python was found, .*"),
        ({"python3": "3.15.0 yes"}, r".* python3 is 3\.15\.0 \(too new\), .*"),
        ({"python3": "3.10.13 yes", "python": "2.7.18 no"}, r".* python3 is 3\.10\.13 .* 2\.7\.18 \(too old\), .*"),
        ({"python3": "3.11.2 no"}, r"Python 3\.11\.2 has no venv module: apt install python3\.11-venv .*"),
    ],
)
def test_what_the_machine_lacks_is_one_line(tmp_path: Path, pythons: dict[str, str], message: str) -> None:
    for name, answer in pythons.items():
        fake(tmp_path / name, answer)
    lacking = check_machine(tmp_path)
    assert (lacking.returncode, lacking.stdout) == (2, "")
    assert re.fullmatch(message + "\n", lacking.stderr), lacking.stderr


def test_a_named_python_is_the_only_one_tried(tmp_path: Path) -> None:
    fake(tmp_path / "python3.12", "3.12.1 yes")
    fake(tmp_path / "old", "3.9.18 yes")
    assert "old is 3.9.18 (too old)" in check_machine(tmp_path, "old").stderr
    assert "PYTHON=missing does not run" in check_machine(tmp_path, "missing").stderr


def test_too_little_disk_is_one_line(tmp_path: Path) -> None:
    fake(tmp_path / "python3.12", "3.12.1 yes")
    fake(tmp_path / "df", "Filesystem 1M-blocks Used Available\n/dev/disk 9000 8877 123 99% /")
    lacking = check_machine(tmp_path)
    assert lacking.returncode == 2
    assert re.fullmatch(r"only 123 MB are free here, \d+ MB are needed\n", lacking.stderr)


def make(*arguments: str) -> str:
    """What make prints, away from the make that may be running these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_help_lists_the_targets() -> None:
    listed = {line.split()[0] for line in make("help").splitlines()}
    assert listed >= {"install", "demo", "test", "lint", "lint-types", "format", "lock", "clean"}


@pytest.mark.parametrize("target", ["demo", "test", "lint", "lint-types"])
def test_a_target_installs_what_it_needs_first(target: str) -> None:
    steps = make("--dry-run", "--always-make", target)
    assert 0 <= steps.find("requirements.lock") < steps.rfind(".venv/bin/")


def test_git_ignores_what_the_targets_make() -> None:
    made = [".venv/x", ".local/x", ".mypy_cache/x", "contract_pipeline.egg-info/x", "build/x", "tests/__pycache__/x"]
    ignored = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == made


def test_the_lock_names_each_dependency_with_hashes_and_no_address() -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", LOCK)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    locked = {re.split(r"[=\[ ]", block, maxsplit=1)[0] for block in blocks}
    wanted = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace(".", "-") for line in wanted}
    assert names <= locked
    assert "://" not in LOCK
    assert "make lock" in LOCK.splitlines()[1]


def test_a_worker_gets_every_package_and_contract(tmp_path: Path) -> None:
    packages = ("commands", "connectors", "contracts", "local", "operations", "pipelines", "transforms")
    source = tmp_path / "source"
    for package in packages:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("launcher.py", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    built = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(tmp_path), str(source)]
    subprocess.run(built, check=True, capture_output=True, timeout=120)
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert sdist.name == f"contract_pipeline-{PROJECT['version']}.tar.gz"
    shutil.unpack_archive(sdist, tmp_path / "worker")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    target = tmp_path / "installed"
    subprocess.run([sys.executable, *install, "--target", str(target), str(sdist)], check=True, timeout=120)
    shipped = [
        path.relative_to(ROOT)
        for package in packages
        for pattern in ("*.py", "*.odcs.yaml", "*.toml")
        for path in (ROOT / package).glob(pattern)
    ]
    assert any(path.suffix == ".yaml" for path in shipped)
    assert [path for path in shipped if not (target / path).exists()] == []


@pytest.mark.parametrize(("lint", "test", "passes"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_ci_fails_where_a_check_fails(tmp_path: Path, lint: int, test: int, passes: bool) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(
        f"install engines test-newest:\n\t@true\nlint:\n\t@exit {lint}\ntest:\n\t@echo 1 passed; exit {test}\n"
    )
    run = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (run.returncode == 0) == passes
    assert ("1 passed" in run.stdout) == (lint == 0)
