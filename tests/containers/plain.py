"""A service of docker-compose.yml as a plain process, for machines without a container engine.

Command, environment and health check are those of the file, with three exceptions: programs come from this machine
instead of an image, a volume is a folder, and 0.0.0.0 (a container's network) is 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from local import gcs
from local.processes import tail
from local.programs.jars import pathing_jar
from local.programs.java import LOGGING, java
from local.service import HOST
from tests import launching
from tests.containers.compose import ROOT
from tests.leftovers import MARK

__all__ = ["PlainService", "running"]

INHERITED = ("HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME", MARK)
UP_SECONDS = 60.0
POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
"""Docker's wait between SIGTERM and SIGKILL."""


class PlainService:
    """One service of the resolved file, with its volumes as folders of `folder`."""

    def __init__(self, model: Mapping[str, Any], name: str, folder: Path) -> None:
        self.name = name
        self.service: Mapping[str, Any] = model["services"][name]
        self._volumes = {mount["target"]: folder / mount["source"] for mount in self.service.get("volumes", ())}
        self._log = folder / f"{name}.log"
        self._configuration = folder / f"{name}-configuration"
        self._process: subprocess.Popen[bytes] | None = None

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment variables of the file."""
        return {name: self._here(str(value)) for name, value in self.service.get("environment", {}).items()}

    def arguments(self, words: Sequence[str]) -> list[str]:
        """Translate a command of the file into one of this machine."""
        program, *rest = words
        return [*self._program(program), *(self._here(word) for word in rest)]

    def run(
        self, words: Sequence[str], seconds: float, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the service's environment and `extra`. Raise subprocess.TimeoutExpired if it is late."""
        environment = {**self._all_variables(), **(extra or {})}
        if list(words[:2]) == ["python", launching.NAME]:
            return launching.run(self.arguments(words)[2:], environment, timeout=seconds)
        return subprocess.run(
            self.arguments(words),
            env=environment,
            cwd=ROOT,
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
        )

    def healthy(self) -> bool:
        """Return the result of the health check."""
        check = self.service["healthcheck"]
        kind, *words = check["test"]
        assert kind == "CMD"
        try:
            return self.run(words, _seconds(check["timeout"])).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def start(self) -> None:
        """Start it and wait until it is healthy. It must not be healthy before."""
        for place in self._volumes.values():
            place.mkdir(exist_ok=True)
        assert not self.healthy(), f"{self.name} is healthy before it runs"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._all_variables(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + UP_SECONDS
        while not self.healthy():
            assert self._process.poll() is None, f"{self.name} ended: {tail(self._log)}"
            assert time.monotonic() < deadline, f"{self.name} is not healthy: {tail(self._log)}"
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it as Docker does. It must end within STOP_SECONDS."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        if command := self.service.get("command"):
            return self.arguments(command)
        # Kafka's image has its own command (docker/jvm/launch in apache/kafka): this class, which is in the jar too,
        # writes server.properties from the variables and formats the folder. Then the server starts.
        folders = {kind: self._configuration / kind for kind in ("default", "mounted", "final")}
        for folder in folders.values():
            folder.mkdir(parents=True)
        setup = [f"--{kind}-configs-dir={folder}" for kind, folder in folders.items()]
        setup_run = self.run(["kafka.docker.KafkaDockerWrapper", "setup", *setup], UP_SECONDS)
        assert setup_run.returncode == 0, setup_run.stdout + setup_run.stderr
        return self.arguments(["kafka.Kafka", str(folders["final"] / "server.properties")])

    def _program(self, name: str) -> list[str]:
        if name == "python":
            return [sys.executable]
        if name == "fake-gcs-server":
            return [gcs.executable()]
        of_kafka = {"/opt/kafka/bin/kafka-configs.sh": "kafka.admin.ConfigCommand"}.get(name, name)
        assert of_kafka.startswith("kafka."), f"no image contains {name}"
        heap = self.environment["KAFKA_HEAP_OPTS"].split()
        return [str(java()), *LOGGING, *heap, "-XX:+UseSerialGC", "-cp", str(pathing_jar("kafka")), of_kafka]

    def _here(self, text: str) -> str:
        for target, place in self._volumes.items():
            text = text.replace(target, str(place))
        return text.replace("0.0.0.0", HOST)

    def _all_variables(self) -> dict[str, str]:
        return {name: os.environ[name] for name in INHERITED if name in os.environ} | self.environment


@contextmanager
def running(services: Sequence[PlainService]) -> Iterator[None]:
    """Run all of them, healthy, during the block."""
    with ExitStack() as stack, ThreadPoolExecutor(len(services)) as pool:
        for service in services:
            stack.callback(service.stop)
        list(pool.map(PlainService.start, services))
        yield


def _seconds(duration: str) -> float:
    """Parse the forms of Compose's durations that the file has: 10s, 1m0s."""
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert match, duration
    return 60 * int(match[1] or 0) + int(match[2] or 0)
