"""What Beam runs a stream on: the Kafka expansion service, Prism and Flink's job server from this machine.

Beam starts and stops them itself. It is told where they are by options of its own, and gets each as a small script
that runs it under guard.py, so that none of them outlives this process, however it ends.
"""

from __future__ import annotations

import glob
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from local.jars import Say, pathing_jar, say_on_stderr
from local.java import java
from local.prism import prism

__all__ = ["engines", "guarded", "prefetch"]

EXPANSION_SERVICE = "sdks:java:io:expansion-service:shadowJar"
"""What Beam calls the jar that ReadFromKafka expands with."""
GUARD = Path(__file__).with_name("guard.py")
GONE_SECONDS = 15.0


def prefetch(names: Sequence[str], say: Say = say_on_stderr) -> dict[str, Path]:
    """Files by name, those that are not on this machine yet fetched or built at the same time: `kafka` (the broker),
    `kafka-io` (the expansion service), `flink` (the job server), `prism`. Raises ServiceFailed.
    """

    def made(name: str) -> Path:
        return prism(say) if name == "prism" else pathing_jar(name, say)

    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(made, names), strict=True))


@contextmanager
def engines(runner: str, say: Say = say_on_stderr, cluster: Sequence[str] = ()) -> Iterator[list[str]]:
    """While the block lasts, Beam options under which `runner` and ReadFromKafka work without Beam's own downloads.

    Put them before the user's, which then win. The runner may be any: one that is neither Prism nor Flink gets the
    expansion service alone. JAVA_HOME names a folder with a `java` meanwhile. On leaving, what Beam still runs is
    ended. With FlinkRunner `cluster` are the options of a Flink that runs already; without them Flink is a part of the
    launcher. Raises ServiceFailed, in one line, if something is missing and cannot be fetched.
    """
    engine = {"prismrunner": ["prism"], "flinkrunner": ["flink"]}.get(runner.lower(), [])
    files = prefetch(["kafka-io", *engine], say)
    with guarded({"java": java()} | {name: files[name] for name in engine if name == "prism"}) as programs:
        options = [f"--beam_services={json.dumps({EXPANSION_SERVICE: str(files['kafka-io'])})}"]
        if engine == ["prism"]:
            options += ["--environment_type=LOOPBACK", f"--prism_location={programs / 'prism'}"]
        elif engine == ["flink"]:
            options += [f"--flink_job_server_jar={files['flink']}"]
            options += [f"--job_server_java_launcher={programs / 'java'}"]
            options += cluster or [
                "--environment_type=LOOPBACK",
                # In memory a checkpoint may have 5 MiB a task, which a stream comes to (apache/beam#27648): a failure.
                "--state_backend=filesystem",
                f"--state_backend_storage_path={(programs.parent / 'checkpoints').as_uri()}",
            ]
        before = os.environ.get("JAVA_HOME")
        os.environ["JAVA_HOME"] = str(programs.parent)  # where Beam looks for bin/java
        try:
            yield options
        finally:
            if before is None:
                del os.environ["JAVA_HOME"]
            else:
                os.environ["JAVA_HOME"] = before


@contextmanager
def guarded(programs: dict[str, Path]) -> Iterator[Path]:
    """A folder of scripts that run the programs under guard.py for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="shop-pipeline-", ignore_cleanup_errors=True) as name:
        folder, fifo = Path(name), Path(name, "launcher")
        os.mkfifo(fifo, 0o600)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # without a reader there can be no writer
        with open(fifo, "wb", buffering=0) as writer:
            os.close(reader)
            # Children by exec do not get this end (PEP 446); one by fork alone would keep the programs running.
            os.register_at_fork(after_in_child=writer.close)
            (folder / "bin").mkdir()
            for program, path in programs.items():
                script = folder / "bin" / program
                command = shlex.join([sys.executable, "-I", "-S", str(GUARD), str(folder), str(path)])
                script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
                script.chmod(0o755)
            yield folder / "bin"
        deadline = time.monotonic() + GONE_SECONDS
        # The last watcher may remove the folder meanwhile, which glob takes for an empty one, unlike Path.glob.
        while glob.glob("*.pid", root_dir=folder) and time.monotonic() < deadline:
            time.sleep(0.02)
