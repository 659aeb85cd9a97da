"""What Beam runs a stream on: the Kafka expansion service, Prism and Flink's job server of this machine.

Beam starts and stops these programs itself. Options name their paths. Each one is a small script that runs the
program under guard.py, so that no program outlives this process, however this process ends.
"""

from __future__ import annotations

import glob
import json
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from local.processes import Command, ServiceFailed, free_port
from local.programs.cache import Say, say_on_stderr
from local.programs.jars import pathing_jar
from local.programs.java import LOGGING, QUICK_START, java
from local.programs.prism import prism
from local.service import HOST
from local.watcher import Watcher

__all__ = ["EXPANSION_SERVICE", "engines", "guarded", "prefetch", "shared_expansion_service"]

EXPANSION_SERVICE = "sdks:java:io:expansion-service:shadowJar"
"""Beam's name for the jar that expands ReadFromKafka."""
GUARD = Path(__file__).with_name("guard.py")
PROGRAMS = {"prismrunner": "prism", "flinkrunner": "flink"}
"""The program of a runner, by the runner's name in lower case."""
STOP_SECONDS = 15.0
READY_SECONDS = 60.0
POLL_SECONDS = 0.02


def prefetch(names: Sequence[str], say: Say = say_on_stderr) -> dict[str, Path]:
    """Return the files of programs by name; fetch or build, all at once, those that this machine does not have yet.

    The names are `kafka` (the broker), `kafka-io` (the expansion service), `flink` (the job server) and `prism`.
    Raises ServiceFailed.
    """

    def file_of(name: str) -> Path:
        return prism(say) if name == "prism" else pathing_jar(name, say)

    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(file_of, names), strict=True))


@contextmanager
def engines(runner: str, say: Say = say_on_stderr, cluster: Sequence[str] = ()) -> Iterator[list[str]]:
    """Yield the Beam options with which `runner` and ReadFromKafka work without Beam's own downloads.

    Put them before the user's options, so that the user's win. `runner` may have any value: a runner other than Prism
    and Flink gets the expansion service only. With FlinkRunner, `cluster` holds the options of a Flink cluster that
    runs already; without it, Flink runs as a part of the launcher.

    Inside the block, JAVA_HOME names a folder with a `java`. At the end of the block, the programs that Beam still
    runs are stopped. Raises ServiceFailed, in one line, if a program is missing and cannot be fetched.
    """
    program = PROGRAMS.get(runner.lower())
    files = prefetch(["kafka-io", *([program] if program else [])], say)
    with guarded({"java": java()} | {name: path for name, path in files.items() if name == "prism"}) as scripts:
        options = _expansion_options(str(files["kafka-io"]))
        if program == "prism":
            options += ["--environment_type=LOOPBACK", f"--prism_location={scripts / 'prism'}"]
        elif program == "flink":
            options += [f"--flink_job_server_jar={files['flink']}"]
            options += [f"--job_server_java_launcher={scripts / 'java'}"]
            options += cluster or [
                "--environment_type=LOOPBACK",
                # A checkpoint in memory may hold 5 MiB a task. A stream exceeds that and fails (apache/beam#27648).
                "--state_backend=filesystem",
                f"--state_backend_storage_path={(scripts.parent / 'checkpoints').as_uri()}",
                f"--flink_conf_dir={_flink_settings(scripts.parent / 'flink')}",
            ]
        before = os.environ.get("JAVA_HOME")
        os.environ["JAVA_HOME"] = str(scripts.parent)  # Beam runs $JAVA_HOME/bin/java
        try:
            yield options
        finally:
            if before is None:
                del os.environ["JAVA_HOME"]
            else:
                os.environ["JAVA_HOME"] = before


@contextmanager
def shared_expansion_service(folder: Path, say: Say = say_on_stderr) -> Iterator[list[str]]:
    """Run one expansion service, and yield the Beam options with which any number of launchers use it.

    It is for tests. Append the options to the arguments of a launcher that runs a stream with `--local` on Prism or on
    Flink in the launcher: the launcher then starts no Java of its own for Kafka. `folder` gets the log,
    `expansion-service.log`. The service stops at the end of the block, or when this process dies.

    The service also runs Kafka's half of each job. One job cannot meet the consumers of another one: KafkaIO keeps
    them by a number that the service increases with each expansion (see java_worker.sh for what happens where that
    number starts again). Raises ServiceFailed if the service does not start.
    """
    jar, port = pathing_jar("kafka-io", say), free_port(0, ())
    log = folder / "expansion-service.log"
    worker = ["--alsoStartLoopbackWorker", "--defaultEnvironmentType=EXTERNAL"]
    worker += [f"--defaultEnvironmentConfig={HOST}:{port}"]
    arguments = [str(java()), *LOGGING, *QUICK_START, "-jar", str(jar), str(port), *worker]
    with Watcher() as watcher:
        process = watcher.spawn(Command(arguments, {}, str(folder), str(log)))
        deadline = time.monotonic() + READY_SECONDS
        while not _listens(port):
            if not process.alive or time.monotonic() > deadline:
                raise ServiceFailed("the expansion service did not start", log)
            time.sleep(POLL_SECONDS)
        yield _expansion_options(f"{HOST}:{port}")


def _expansion_options(place: str) -> list[str]:
    """Return Beam's options for an expansion service: `place` is its jar, or the HOST:PORT of one that runs."""
    return [f"--beam_services={json.dumps({EXPANSION_SERVICE: place})}"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _flink_settings(folder: Path) -> Path:
    """Write the settings of a Flink that is a part of the launcher; return their folder.

    Without them, Flink's REST API, which runs any job, and its blob server listen on every interface.
    """
    folder.mkdir()
    names = ("jobmanager.bind-host", "taskmanager.bind-host", "rest.bind-address")
    (folder / "config.yaml").write_text("".join(f"{name}: {HOST}\n" for name in names))
    return folder


@contextmanager
def guarded(programs: dict[str, Path]) -> Iterator[Path]:
    """Yield a folder of scripts, one for each of `programs` by name, that run the program under guard.py.

    At the end of the block, or when this process dies, every program that still runs is stopped.
    """
    with tempfile.TemporaryDirectory(prefix="contract-pipeline-", ignore_cleanup_errors=True) as name:
        folder, fifo = Path(name), Path(name, "launcher")
        os.mkfifo(fifo, 0o600)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO opens for writing only if it has a reader
        with open(fifo, "wb", buffering=0) as writer:
            os.close(reader)
            # A child by exec does not inherit this end (PEP 446). A child by fork must close it: it would keep the
            # programs running.
            os.register_at_fork(after_in_child=writer.close)
            (folder / "bin").mkdir()
            for program, path in programs.items():
                script = folder / "bin" / program
                command = shlex.join([sys.executable, "-I", "-S", str(GUARD), str(folder), str(path)])
                script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
                script.chmod(0o755)
            yield folder / "bin"
        deadline = time.monotonic() + STOP_SECONDS
        # The last watcher may remove the folder meanwhile. Unlike Path.glob, glob takes that for an empty folder.
        while glob.glob("*.pid", root_dir=folder) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
