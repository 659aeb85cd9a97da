"""Run a program that ends when its launcher does, however that ends: guard.py FOLDER PROGRAM ARGUMENT…

Beam starts Java and Prism by a plain Popen, so a SIGKILL of the launcher would leave them running. This script is what
Beam starts in their place. It forks a process that watches FOLDER/launcher, a FIFO that the launcher alone holds open
for writing, and becomes the program, under the pid that Beam knows and signals. The program runs in a session of its
own: a terminal's Ctrl-C is the launcher's affair.

It runs with `python -I -S` and so imports nothing but the standard library. See engines.py.
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
    """Become the program, with a watching child."""
    folder, program = Path(sys.argv[1]), sys.argv[2]
    with suppress(PermissionError):  # it leads a process group already
        os.setsid()
    launcher = os.open(folder / "launcher", os.O_RDONLY | os.O_NONBLOCK)
    pid = os.getpid()
    mark = folder / f"{pid}.pid"
    mark.touch()
    if os.fork() == 0:
        try:
            _watch(launcher, pid)
        finally:
            mark.unlink(missing_ok=True)
            with suppress(FileNotFoundError):  # a launcher that was not killed removes it too
                if _closed(launcher) and not any(folder.glob("*.pid")):
                    shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
    os.execv(program, sys.argv[2:])


def _watch(launcher: int, pid: int) -> None:
    """Wait for the end of the launcher or of the program, and end the program with the launcher."""
    os.setsid()  # what is sent to the program's group is not meant for this process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # Beam reads the program's output to its end
        os.dup2(nowhere, number)
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
    """SIGTERM to the program's process group, and SIGKILL if it does not go."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        if os.getppid() == pid:
            os.killpg(pid, number)
        while os.getppid() == pid and time.monotonic() < deadline:
            time.sleep(0.02)


if __name__ == "__main__":
    main()
