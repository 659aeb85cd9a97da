"""Processes that outlive the call that starts them. A later process with the same pid is never mistaken for one."""

from __future__ import annotations

import os
import platform
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = [
    "Command",
    "Process",
    "ServiceFailed",
    "free_port",
    "keep_private",
    "module_command",
    "spawn",
    "stop",
    "tail",
]

POLL_SECONDS = 0.02
LASTING_PORTS = range(20_000, 32_000)
"""Below the ports that Linux (from 32768 on) and macOS (from 49152 on) give to a caller that asks for any port."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ServiceFailed(Exception):
    """A service did not start: `what` says why in one line. If it had begun to run, the end of its log follows."""

    def __init__(self, what: str, log: Path | None = None) -> None:
        super().__init__(what if log is None else f"{what}; its log is {log}, and ends:\n{tail(log)}")
        self.what, self.log = what, log


@dataclass(frozen=True, slots=True)
class Command:
    """A command: arguments, additions to the environment, the folder it runs in, the file of its output."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    log: str

    def as_json(self) -> dict[str, object]:
        """Return the command as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its pid, and its start time, since a pid is used again."""

    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """Return this process."""
        return cls(os.getpid(), start_time(os.getpid()) or "")

    @property
    def alive(self) -> bool:
        """Whether it is still the same process, and runs. A zombie does not run."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str | None:
    """Return a text, made of the start time, that no later process with this pid has; None if none runs."""
    if platform.system() == "Linux":
        try:
            # The second field, a name in parentheses, may hold spaces: count fields after it. See proc(5).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, threads, ticks = fields[0], int(fields[17]), fields[19]
        # The first thread can be dead while other threads still hold files, ports and locks.
        gone = state in "ZX" and threads <= 1
        return None if gone else f"{BOOT_ID.read_text().strip()}/{ticks}"
    listed = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    state, _, started = listed.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())


def module_command(name: str) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment that run a module of this project from any folder."""
    paths = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: do not import from the working folder.
    return [sys.executable, "-P", "-m", name], {"PYTHONPATH": os.pathsep.join(paths)}


def keep_private(folder: Path) -> None:
    """Create the folder if it does not exist, and let only this user read it, whatever the umask and its old mode.

    A folder with the sticky bit (/tmp) and a folder of another user keep their mode.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.getuid() and not status.st_mode & stat.S_ISVTX and stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)


def spawn(command: Command) -> Process:
    """Start the command in a new session, which a terminal's Ctrl-C does not reach.

    Raises ServiceFailed if the program cannot be run.
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
    child.returncode = 0  # only its pid is used from here on: this object must neither wait nor warn
    return process


def stop(processes: Sequence[Process], grace: float) -> None:
    """Stop process groups: SIGTERM, and SIGKILL after `grace` seconds. Return when all processes are gone."""
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
    with suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
        os.killpg(process.pid, number)


def free_port(preferred: int, taken: Collection[int]) -> int:
    """Return a TCP port on 127.0.0.1 that is free and not in `taken`: `preferred` (0 for none) if possible, else any.

    A service may need half a minute until it listens. Meanwhile the system gives the ports of its own range to
    connections and to servers that ask for any port, so the port is a random one below that range.

    Raises ServiceFailed if there is none.
    """
    candidates = [port for port in (preferred, *random.sample(LASTING_PORTS, 100)) if port and port not in taken]
    for port in candidates:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ServiceFailed("no free TCP port on 127.0.0.1")


def tail(file: Path, lines: int = 10) -> str:
    """Return the last lines of a log, or a note that it is empty."""
    with suppress(OSError), file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
        text = log.read().decode(errors="replace").strip()
        if text:
            return "\n".join(line[:500] for line in text.splitlines()[-lines:])
    return "(it wrote nothing)"
