"""Worker processes on this machine: forked from a process with all imports, connected by pipes, never left behind.

The launcher forks a server while it has one thread, which takes milliseconds. The server forks the workers once they
are needed: by then the launcher has threads and connections, which a fork would break. The pipes exist before the fork,
so nothing listens. Elsewhere than on Linux, and in a process with threads, the server is a new interpreter instead.

    launcher -- pipe --> fork server -- parent of --> workers, each of which has a pipe to the launcher

The server ends when the launcher's end of its pipe is closed, however the launcher ends, and kills the workers. A
worker ends when the server ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["ForkServer", "fork_server"]

Target = Callable[[Connection], None]
WAIT_SECONDS = 5.0
POOL = re.compile(r"polars-\d")
"""The names of the threads of polars' pool."""


@contextmanager
def fork_server(most: int, target: Target) -> Iterator[ForkServer]:
    """Yield a server that can start up to `most` workers. They all end at the end of the block.

    A worker calls `target` with its end of a pipe.
    """
    server = ForkServer(most, target)
    try:
        yield server
    finally:
        server.close()


class ForkServer:
    """Starts workers."""

    def __init__(self, most: int, target: Target) -> None:
        pipes = [multiprocessing.Pipe() for _ in range(most)]
        self._control, self._server_control = multiprocessing.Pipe()
        self._ends, self._worker_ends = [mine for mine, _ in pipes], [theirs for _, theirs in pipes]
        self._target = target
        self._codes: dict[int, int] = {}
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        if _fork_is_safe():
            self._launch("fork")

    @property
    def most(self) -> int:
        """How many workers it can start."""
        return len(self._ends)

    def start(self, count: int) -> list[Connection]:
        """Start workers, once; return the launcher's end of the pipe of each."""
        if self._process is None:
            self._launch("spawn")
        self._control.send(count)
        return self._ends[:count]

    def why_ended(self, worker: int) -> str:
        """Return how a worker has ended whose pipe is at its end."""
        with self._lock:
            try:
                while worker not in self._codes and self._control.poll(WAIT_SECONDS):
                    number, code = self._control.recv()
                    self._codes[number] = code
            except (EOFError, OSError):
                return "with the process that started it"
            code = self._codes.get(worker, 0)
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def stop(self) -> None:
        """End all workers, at once, and the server. A thread that waits for a worker finds the end of its pipe."""
        with self._lock:
            self._control.close()

    def close(self) -> None:
        """Stop, and wait for the end of all."""
        self.stop()
        for end in (self._server_control, *self._worker_ends):
            end.close()
        if self._process is not None:
            self._process.join()
        for end in self._ends:
            end.close()

    def _launch(self, method: str) -> None:
        context: Any = multiprocessing.get_context(method)
        launcher_ends = [self._control, *self._ends]
        self._process = context.Process(
            target=_serve, args=(self._server_control, self._worker_ends, launcher_ends, self._target), daemon=False
        )
        self._process.start()
        for end in (self._server_control, *self._worker_ends):
            end.close()


def _fork_is_safe() -> bool:
    """Whether this process has no thread that a fork would lose: none of Python's, and polars' pool is not started."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    return not any(POOL.match(task.read_text()) for task in Path("/proc/self/task").glob("*/comm"))


def _serve(control: Connection, ends: Sequence[Connection], launcher: Sequence[Connection], target: Target) -> None:
    """Be the server."""
    for end in launcher:
        end.close()
    for signum in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the launcher decides
        signal.signal(signum, signal.SIG_IGN)
    gc.freeze()  # a collection would write to pages that are shared
    try:
        count = control.recv()
    except EOFError:
        return
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(number, ends, control, target)) for number in range(count)]
    for worker in workers:
        worker.start()
    for end in ends:
        end.close()
    running = {worker.sentinel: number for number, worker in enumerate(workers)}
    while control not in (ready := connection.wait([control, *running])):
        for sentinel in running.keys() & ready:
            number = running.pop(sentinel)
            workers[number].join()
            with suppress(OSError):
                control.send((number, workers[number].exitcode))
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()


def _work(number: int, ends: Sequence[Connection], control: Connection, target: Target) -> None:
    """Be a worker."""
    control.close()
    for other, end in enumerate(ends):
        if other != number:
            end.close()
    threading.Thread(target=_end_with_server, daemon=True).start()
    target(ends[number])


def _end_with_server() -> None:
    server = parent_process()
    assert server is not None
    server.join()
    os._exit(1)
