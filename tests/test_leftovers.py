"""A test session that leaves a process behind fails, names it and ends it, also if pytest itself is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
CONFTEST = """
import tests.leftovers
from tests.leftovers import no_process_is_left
tests.leftovers.GRACE_SECONDS = 3.0
tests.leftovers.TERMINATE_SECONDS = 0.5
"""
END_SECONDS = 40.0
WAITS = "import time; time.sleep(60)"
STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("started").touch()
time.sleep(60)
"""
IN_A_SESSION_OF_ITS_OWN = f"""
import subprocess, sys
def test_it():
    child = subprocess.Popen([sys.executable, "-c", {WAITS!r}], start_new_session=True)
    child.returncode = 0
"""
OF_ONE_THAT_ENDED = f"""
import subprocess, sys
def test_it():
    starts = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}])"
    subprocess.run([sys.executable, "-c", starts], check=True)
"""
CLEAN = f"""
import subprocess, sys
def test_it():
    child = subprocess.Popen([sys.executable, "-c", {WAITS!r}])
    child.kill()
    child.wait()
def test_one_that_ends_by_itself_soon():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"]).returncode = 0
"""


WAITS_FOR_A_SIGNAL = f"""
import pathlib, subprocess, sys, time
def test_it():
    subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], start_new_session=True)
    time.sleep(60)
"""


def command(folder: Path, test: str, *arguments: str) -> list[str]:
    """Return the command that runs pytest over one file of tests, in `folder`."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    plugins = ("-p", "no:cacheprovider", "-p", "no:bqemulator")
    return [sys.executable, "-m", "pytest", *plugins, f"--rootdir={folder}", *arguments]


def environment() -> dict[str, str]:
    """The variables of a session that is no worker of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def session(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over one file of tests."""
    return subprocess.run(
        command(folder, test, *arguments),
        cwd=folder,
        env=environment(),
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def running_in(folder: Path) -> set[int]:
    """The processes that run in this folder."""
    return {
        process.pid
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["cwd"] == str(folder) and process.info["status"] != psutil.STATUS_ZOMBIE
    }


def wait_until_all_end(folder: Path) -> None:
    """Wait until no process runs in the folder."""
    wait_until(lambda: not running_in(folder), END_SECONDS)


@pytest.mark.parametrize(
    ("test", "workers"), [(IN_A_SESSION_OF_ITS_OWN, []), (OF_ONE_THAT_ENDED, []), (OF_ONE_THAT_ENDED, ["-n", "1"])]
)
def test_a_process_that_is_left(tmp_path: Path, test: str, workers: list[str]) -> None:
    ended = session(tmp_path, test, *workers)
    assert ended.returncode == 1, ended.stdout
    assert re.search(rf"left running: \d+: {re.escape(f'{sys.executable} -c {WAITS}')}", ended.stdout)
    assert running_in(tmp_path) == set()


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_a_session_that_leaves_none(tmp_path: Path, workers: list[str]) -> None:
    ended = session(tmp_path, CLEAN, *workers)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGKILL, []), (signal.SIGTERM, ["-n", "1"])],
)
def test_a_session_that_is_killed(tmp_path: Path, number: signal.Signals, workers: list[str]) -> None:
    with subprocess.Popen(
        command(tmp_path, WAITS_FOR_A_SIGNAL, *workers),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_until((tmp_path / "started").exists, 60)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal sends it: to all of the process group
        else:
            process.send_signal(number)
    wait_until_all_end(tmp_path)
