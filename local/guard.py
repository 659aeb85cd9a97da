"""Run a program that ends when its launcher ends, however the launcher ends: guard.py FOLDER PROGRAM ARGUMENT…

Beam starts Java and Prism by a plain Popen, so a SIGKILL of the launcher would leave them running. Beam therefore runs
this script. The script forks a watching process and becomes the program, under the pid that Beam knows and signals.
The watching process reads FOLDER/launcher, a FIFO that only the launcher holds open for writing. The program runs in a
new session, so that a terminal's Ctrl-C reaches only the launcher.

The script runs with `python -I -S` and imports only the standard library. See engines.py.
"""

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0


def main() -> None:
    """Fork the watching process and become the program."""
    folder, program = Path(sys.argv[1]), sys.argv[2]
    with suppress(PermissionError):  # it already leads a process group
        os.setsid()
    launcher = os.open(folder / "launcher", os.O_RDONLY | os.O_NONBLOCK)
    pid = os.getpid()
    pid_file = folder / f"{pid}.pid"
    pid_file.touch()
    if os.fork() == 0:
        try:
            _watch(launcher, pid)
        finally:
            pid_file.unlink(missing_ok=True)
            with suppress(FileNotFoundError):  # a launcher that still runs removes it too
                if _closed(launcher) and not any(folder.glob("*.pid")):
                    shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
    os.execv(program, sys.argv[2:])


def _watch(launcher: int, pid: int) -> None:
    """Wait until the launcher or the program ends; if the launcher ends first, stop the program."""
    os.setsid()  # signals to the program's group must not reach this process
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # Beam reads the program's output to its end
        os.dup2(null, descriptor)
    while os.getppid() == pid:
        select.select([launcher], [], [], POLL_SECONDS)
        if _closed(launcher):
            _end(pid)
            return


def _closed(launcher: int) -> bool:
    try:
        return os.read(launcher, 1) == b""
    except BlockingIOError:
        return False


def _end(pid: int) -> None:
    """Send SIGTERM to the program's process group, and SIGKILL if it still runs after GRACE_SECONDS."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        if os.getppid() == pid:
            os.killpg(pid, number)
        while os.getppid() == pid and time.monotonic() < deadline:
            time.sleep(0.02)


if __name__ == "__main__":
    main()
