"""What Beam starts ends with its launcher: by Beam's own signals, on leaving, and if the launcher is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.engines import EXPANSION_SERVICE, engines, guarded
from local.processes import free_port, start_time
from local.programs.jars import pathing_jar
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LAUNCHER = """
# Runs the program as Beam does, and has a child by fork that lives on when this process dies.
import os, subprocess, sys, time
from pathlib import Path
from local.engines import guarded
with guarded({"program": Path(sys.argv[1])}) as folder:
    program = subprocess.Popen([folder / "program"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    program.stdout.readline()
    child = os.fork()
    if child:
        print(program.pid, child, folder.parent, flush=True)
    time.sleep(60)
"""
STUBBORN = "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 1; done\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that says that it is ready, and ends only if it is killed."""
    file = tmp_path / "stubborn"
    file.write_text(STUBBORN)
    file.chmod(0o755)
    return file


@pytest.fixture
def launcher(program: Path) -> Iterator[tuple[subprocess.Popen[str], int, int, Path]]:
    """Another process that runs the program: itself, the program's pid, its child's, its folder."""
    command = [sys.executable, "-c", LAUNCHER, str(program)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        pid, child, folder = process.stdout.readline().split()
        yield process, int(pid), int(child), Path(folder)
        os.kill(int(child), signal.SIGKILL)
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)  # a launcher that is killed after its program leaves it


def watchers_of(folder: Path) -> list[str]:
    """The command lines that name the folder, which is a launcher's own."""
    shown = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in shown.stdout.splitlines() if str(folder) in line]


def test_a_program_ends_with_a_launcher_that_is_killed(launcher: tuple[subprocess.Popen[str], int, int, Path]) -> None:
    process, pid, child, folder = launcher
    assert len(watchers_of(folder)) == 1
    process.kill()
    process.wait()
    wait_until(lambda: start_time(pid) is None and not watchers_of(folder) and not folder.exists())
    assert start_time(child)  # so it holds no end of the pipe


def test_the_watcher_ends_with_its_program(launcher: tuple[subprocess.Popen[str], int, int, Path]) -> None:
    process, pid, _, folder = launcher
    assert len(watchers_of(folder)) == 1
    os.kill(pid, signal.SIGKILL)  # as Beam does
    wait_until(lambda: not watchers_of(folder))
    assert process.poll() is None


def test_a_program_keeps_its_pid_arguments_output_and_exit_code(tmp_path: Path) -> None:
    with guarded({"sh": Path("/bin/sh")}) as folder:
        command = [folder / "sh", "-c", 'echo $$ "$1"; exit 7', "sh", "a b"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.communicate(timeout=20)[0] == f"{process.pid} a b\n"
        assert process.returncode == 7


def test_leaving_ends_what_still_runs(program: Path) -> None:
    with guarded({"program": program}) as folder:
        process = subprocess.Popen([folder / "program"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
    assert process.wait(timeout=1) == -signal.SIGKILL
    process.stdout.close()
    assert not folder.exists()


def test_leaving_waits_for_the_last_one_too(program: Path, tmp_path: Path) -> None:
    quick = tmp_path / "quick"
    quick.write_text("#!/bin/sh\necho ready\nexec sleep 60\n")
    quick.chmod(0o755)
    with guarded({"quick": quick, "stubborn": program}) as folder:
        both = [subprocess.Popen([folder / name], stdout=subprocess.PIPE) for name in ("quick", "stubborn")]
        for process in both:
            assert process.stdout is not None
            process.stdout.readline()
    assert [process.wait(timeout=1) for process in both] == [-signal.SIGTERM, -signal.SIGKILL]
    for process in both:
        assert process.stdout is not None
        process.stdout.close()
    assert not folder.parent.exists()


def test_a_terminals_interrupt_reaches_the_launcher_alone(program: Path) -> None:
    with guarded({"program": program}) as folder, subprocess.Popen([folder / "program"], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        assert os.getpgid(one.pid) == one.pid != os.getpgid(0)
        one.kill()


@pytest.mark.e2e
@pytest.mark.timeout(900)  # the first time on a machine Prism is built
def test_beams_options_name_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/before")
    with engines("PrismRunner") as options:
        services, loopback, prism = options
        assert json.loads(services.removeprefix("--beam_services=")) == {
            EXPANSION_SERVICE: str(pathing_jar("kafka-io"))
        }
        assert loopback == "--environment_type=LOOPBACK"
        home = Path(os.environ["JAVA_HOME"])
        port = free_port(0, ())
        command = [prism.removeprefix("--prism_location="), f"--job_port={port}", "--serve_http=false"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            assert running.stdout is not None
            assert "Serving JobManagement" in running.stdout.readline()
            running.send_signal(signal.SIGINT)  # as Beam stops it
        java = [home / "bin" / "java", "-jar", pathing_jar("kafka-io"), str(free_port(0, ()))]
        with subprocess.Popen(java, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            assert running.stdout is not None
            assert any("beam:transform:org.apache.beam:kafka_read" in line for line in running.stdout)
            running.terminate()
    assert os.environ["JAVA_HOME"] == "/before"
    assert not home.exists()


@pytest.mark.e2e
def test_flink_gets_its_jar_and_its_java() -> None:
    with engines("FlinkRunner") as options:
        given = dict(option.removeprefix("--").split("=", 1) for option in options)
        assert given["environment_type"] == "LOOPBACK"
        assert "rest.bind-address: 127.0.0.1\n" in Path(given["flink_conf_dir"], "config.yaml").read_text()
        command = [given["job_server_java_launcher"], "-jar", given["flink_job_server_jar"], "--help"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "--flink-master" in shown.stdout + shown.stderr
    with engines("DataflowRunner") as options:
        assert [option.split("=")[0] for option in options] == ["--beam_services"]
