"""launcher.py as any Python of the machine reads it: in .venv, or with one line that says what to type."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BARE = os.path.realpath(sys.executable)
"""The interpreter behind that of .venv; -S below keeps it from whatever is installed for it."""
SHOW = '#!/bin/sh\nprintf \'%s|\' "$$" "$@"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a launcher alone; its name needs quotes."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "launcher.py", folder)
    return folder


def environment(folder: Path, program: str) -> None:
    """A .venv with this in the place of its Python."""
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(program)
    python.chmod(0o755)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [BARE, "-I", "-S", str(folder / "launcher.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_goes_on_in_the_environment_as_the_same_process_with_the_same_arguments(checkout: Path) -> None:
    environment(checkout, SHOW)
    process = start(checkout, "batch", "--input", "", "a b", "é*")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out == f"{process.pid}|{checkout / 'launcher.py'}|batch|--input||a b|é*|"


def test_signals_and_the_exit_code_are_those_of_the_environments_python(checkout: Path) -> None:
    environment(checkout, "#!/bin/sh\ntrap 'exit 7' TERM\necho ready\nread line\n")
    process = subprocess.Popen(
        [BARE, "-I", "-S", str(checkout / "launcher.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 7


def test_without_an_environment_it_says_what_to_type(checkout: Path) -> None:
    process = start(checkout, "batch")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err == f"error: packages are missing; to install them: make -C '{checkout}' install\n"


def test_an_environment_that_lacks_packages_too_is_entered_once(checkout: Path) -> None:
    subprocess.run([BARE, "-m", "venv", "--without-pip", str(checkout / ".venv")], check=True, timeout=60)
    process = start(checkout, "batch")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: packages are missing; ")


def test_an_environment_with_the_python_of_the_machine_is_entered_once(checkout: Path) -> None:
    """Such a Python does not know that it is in an environment."""
    environment(checkout, f'#!/bin/sh\nexec {BARE} -S "$@"\n')
    with start(checkout, "batch") as process:
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: packages are missing; ")


def test_an_old_python_can_read_it() -> None:
    ast.parse((ROOT / "launcher.py").read_text(), feature_version=(3, 8))
