"""A test session that leaves a process behind fails, and names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
CONFTEST = """
import tests.leftovers
from tests.leftovers import no_process_is_left
tests.leftovers.GRACE_SECONDS = 1.0
"""
WAITS = "import time; time.sleep(60)"
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


def session(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over one file of tests."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:bqemulator", f"--rootdir={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("test", [IN_A_SESSION_OF_ITS_OWN, OF_ONE_THAT_ENDED])
def test_a_process_that_is_left(tmp_path: Path, test: str) -> None:
    done = session(tmp_path, test)
    left = [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if process.info["cwd"] == str(tmp_path) and WAITS in (process.info["cmdline"] or [])
    ]
    for process in left:
        process.kill()
        process.wait(10)
    (process,) = left
    assert done.returncode == 1, done.stdout
    assert f"left running: {process.pid}: {sys.executable} -c {WAITS}" in done.stdout


def test_a_session_that_leaves_none(tmp_path: Path) -> None:
    done = session(tmp_path, CLEAN)
    assert done.returncode == 0, done.stdout
