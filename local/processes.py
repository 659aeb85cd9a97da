"""Processes that outlive a call, told apart from later ones with the same pid, and never left behind."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Command", "Process", "ServiceFailed", "free_port", "module_command", "spawn", "stop", "tail"]

POLL_SECONDS = 0.05
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ServiceFailed(Exception):
    """A service that could not be started, in one line and the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: arguments, what it needs in its environment, the folder it runs in, the file its output goes to."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    log: str

    def as_json(self) -> dict[str, object]:
        """The command as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Process:
    """A pid and when it was started: a pid alone may be another process by now."""

    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """This very process."""
        return cls(os.getpid(), start_time(os.getpid()) or "")

    @property
    def alive(self) -> bool:
        """It runs, and it is still the process that was started. One that only waits to be reaped does not run."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str | None:
    """When the process was started, as a text that no other process with this pid has; None if it does not run."""
    if platform.system() == "Linux":
        try:
            # The name, in parentheses, may hold spaces: the fields are counted after it. See proc(5).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, threads, ticks = fields[0], int(fields[17]), fields[19]
        # The first thread can be dead while others still hold files, ports and locks.
        gone = state in "ZX" and threads <= 1
        return None if gone else f"{BOOT_ID.read_text().strip()}/{ticks}"
    shown = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())


def module_command(name: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that run a module of this package, whatever folder it runs in."""
    paths = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: the folder that it runs in is no place to import from.
    return [sys.executable, "-P", "-m", name], {"PYTHONPATH": os.pathsep.join(paths)}


def spawn(command: Command) -> Process:
    """Start it in a session of its own, so that a terminal's Ctrl-C does not reach it.

    Raises ServiceFailed if there is no such program.
    """
    with open(command.log, "ab") as log:
        try:
            child = subprocess.Popen(
                command.arguments,
                cwd=command.folder,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ServiceFailed(f"{command.arguments[0]} cannot be run: {error.strerror}") from error
    process = Process(child.pid, start_time(child.pid) or "")
    child.returncode = 0  # it is watched by its pid from here on: this object shall neither wait nor warn
    return process


def stop(processes: Sequence[Process], grace: float) -> None:
    """End them and whatever they started: SIGTERM to all, after `grace` seconds SIGKILL. Returns when they are gone."""
    running = [process for process in processes if process.alive]
    deadline = time.monotonic() + grace
    for process in running:
        _signal(process, signal.SIGTERM)
    while any(process.alive for process in running) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for process in running:
        _signal(process, signal.SIGKILL)
    while any(process.alive for process in running):
        time.sleep(POLL_SECONDS)
    for process in running:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of dead ones
        os.killpg(process.pid, number)


def free_port(preferred: int, taken: Collection[int]) -> int:
    """A TCP port on 127.0.0.1, free and not in `taken`: `preferred` if that is one (0: none is), else any."""
    for port in (preferred, *[0] * 100):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            chosen: int = probe.getsockname()[1]
            if chosen not in taken:
                return chosen
    raise ServiceFailed("no free TCP port on 127.0.0.1")


def tail(file: Path, lines: int = 10) -> str:
    """The last lines of a log, or a word that there are none."""
    with suppress(OSError), file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
        text = log.read().decode(errors="replace").strip()
        if text:
            return "\n".join(line[:500] for line in text.splitlines()[-lines:])
    return "(it wrote nothing)"
