"""Starts launcher.py as a separate process without the seconds of imports that each start would cost.

A server process imports the launcher with all that it needs, once in a test session, and forks for each start. What is
forked is a real process: it has a separate pid, pipes and session, and can be killed.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypedDict

__all__ = ["ROOT", "Launched", "last_kill", "run", "start", "stop_server"]

ROOT = Path(__file__).parents[1]
POLL_SECONDS = 0.02
NAME = "launcher.py"
"""Is in the command line of what is forked, so that tests recognize a launcher among the processes."""


@dataclass
class Launched:
    """A start of launcher.py, with the part of subprocess.Popen's interface that tests use."""

    args: Sequence[str]
    pid: int
    stdout: IO[str]
    stderr: IO[str] | None
    """None if stderr goes to stdout."""
    _status: int
    """A pipe that gives the exit code at the end."""
    returncode: int | None = None
    _read: dict[int, str] = field(default_factory=dict)

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs; a signal counts as minus its number."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            data = os.read(self._status, 64)
            assert data, "the launching server has ended"
            self.returncode = int(data)
            os.close(self._status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit code. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                assert timeout is not None
                raise subprocess.TimeoutExpired(list(self.args), timeout)
            time.sleep(POLL_SECONDS)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both outputs to their ends and wait. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None and not stream.closed]
        readers = [threading.Thread(target=self._drain, args=(stream,), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if reader.is_alive():
                assert timeout is not None
                raise subprocess.TimeoutExpired(list(self.args), timeout)
        self.wait(None if deadline is None else max(1.0, deadline - time.monotonic()))
        for stream in streams:
            stream.close()
        return self._read.get(0, ""), self._read.get(1, "")

    def _drain(self, stream: IO[str]) -> None:
        place = 0 if stream is self.stdout else 1
        for line in stream:
            self._read[place] = self._read.get(place, "") + line

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            _note_kill(number)
            with suppress(ProcessLookupError):  # it has ended meanwhile: the server reaps it at once
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """Send SIGKILL to the process group, if the process still runs, and wait for its end."""
        if self.poll() is None:
            _note_kill(signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        with self:
            self.wait()

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


_kills = [float("-inf")]


def last_kill() -> float:
    """Return when a launcher was sent SIGKILL for the last time, by a monotonic clock."""
    return _kills[-1]


def _note_kill(number: int) -> None:
    if number == signal.SIGKILL:
        _kills.append(time.monotonic())


class _Server:
    """The process that forks, as pytest's process sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.launching", str(theirs.fileno()), NAME],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lock = threading.Lock()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path, stderr_to_stdout: bool
    ) -> Launched:
        output, their_output = os.pipe()
        errors, their_errors = (-1, their_output) if stderr_to_stdout else os.pipe()
        status, their_status = os.pipe()
        request = _Request(arguments=list(arguments), environment=dict(environment), directory=str(directory))
        with self._lock:
            place = f"/dev/shm/launch-{os.getpid()}-{time.monotonic_ns()}"
            Path(place).write_text(json.dumps(request))  # an environment may be larger than a packet
            socket.send_fds(self._socket, [place.encode()], [their_output, their_errors, their_status])
            for descriptor in {their_output, their_errors, their_status}:
                os.close(descriptor)
            pid = int(os.read(status, 16))
        return Launched(
            ["launcher.py", *arguments],
            pid,
            open(output, encoding="utf-8", errors="replace"),
            None if stderr_to_stdout else open(errors, encoding="utf-8", errors="replace"),
            status,
        )

    def stop(self) -> None:
        self._socket.close()
        self._process.wait(30)


_servers: list[_Server] = []


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    *,
    stderr_to_stdout: bool = False,
) -> Launched:
    """Start `launcher.py ARGUMENTS` in a new session; `environment` is all that it has, default: this one's."""
    if not _servers:
        _servers.append(_Server())
    return _servers[0].start(arguments, os.environ if environment is None else environment, directory, stderr_to_stdout)


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    *,
    timeout: float = 280,
    stderr_to_stdout: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `launcher.py ARGUMENTS` to its end. Raises subprocess.TimeoutExpired, with the process group killed."""
    launched = start(arguments, environment, directory, stderr_to_stdout=stderr_to_stdout)
    try:
        stdout, stderr = launched.communicate(timeout)
    except BaseException:
        launched.kill_group()
        raise
    assert launched.returncode is not None
    return subprocess.CompletedProcess(list(launched.args), launched.returncode, stdout, stderr)


def stop_server() -> None:
    """End the server, at the end of a test session."""
    while _servers:
        _servers.pop().stop()


class _Request(TypedDict):
    """What the forked process is to be."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str


def _serve(requests: socket.socket) -> _Request:
    """Fork for each request; returns in the forked process alone, with its request. Ends with the socket."""
    running: dict[int, int] = {}
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([requests.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1024)
            _report_ended(running)
        if requests.fileno() not in ready:
            continue
        place, descriptors, _, _ = socket.recv_fds(requests, 256, 3)
        if not place:
            os._exit(0)
        request: _Request = json.loads(Path(place.decode()).read_text())
        Path(place.decode()).unlink()
        output, errors, status = descriptors
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.setsid()
            os.dup2(output, 1)
            os.dup2(errors, 2)
            for descriptor in {output, errors, status, wake, woken, *running.values()}:
                os.close(descriptor)
            requests.close()
            return request
        for descriptor in {output, errors}:
            os.close(descriptor)
        os.write(status, b"%16d" % pid)
        running[pid] = status


def _report_ended(running: dict[int, int]) -> None:
    """Write the exit code of each process that has ended to its pipe."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        descriptor = running.pop(pid)
        os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(descriptor)


def _import_all() -> None:
    """Import what commands import, at their start and later."""
    import importlib

    for module in (
        "apache_beam.runners.portability.fn_api_runner.fn_runner",
        "apache_beam.runners.portability.flink_runner",
        "apache_beam.runners.portability.prism_runner",
        "apache_beam.io.kafka",
        "pyarrow.parquet",
        "google.cloud.bigquery_storage",
        "local.engines",
        "local.services",
        "pipelines.engines.dataflow_jobs",
        *(f"commands.{path.stem}" for path in (ROOT / "commands").glob("[a-z]*.py")),
    ):
        importlib.import_module(module)


def main() -> None:
    """Serve; in a forked process run the launcher and end with its exit code."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    import launcher

    gc.collect()
    gc.freeze()  # what is imported is not copied by a collection in a forked process
    request = _serve(requests)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv = ["launcher.py", *request["arguments"]]
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    code: int | str | None = 1
    try:
        code = launcher.main(sys.argv[1:])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) or ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # All that Python does at its end, but for taking every module apart, which takes a second.
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    main()
