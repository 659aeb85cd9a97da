"""A worker of a batch: a process that has bundles of its graph until the launcher ends it."""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from connectors.upstream.beam_workers import Bundle, BundleWorker, Processed
from transforms.run_state import Counted, RunState, registered
from transforms.waits import observed

__all__ = ["Failed", "News", "Start", "Task", "work"]

NEWS_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to a worker: the run's token, the launcher's environment, and how many threads polars has."""

    token: str
    environment: Mapping[str, str]
    threads: int


@dataclass(frozen=True, slots=True)
class Task:
    """A bundle, with the descriptor of its stage if the worker does not know it."""

    bundle: Bundle
    descriptor: bytes | None


@dataclass(frozen=True, slots=True)
class News:
    """What a worker has counted since the last time, and what it retries. It comes before the answer to a Task."""

    counted: Counted
    waits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The error of a bundle."""

    error: Exception


def work(pipe: Connection) -> None:
    """Process bundles until the pipe is closed."""
    for logger in (None, "apache_beam"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # failures are reported in one line, by the launcher
    with suppress(EOFError, OSError):
        start: Start = pipe.recv()
        os.environ.clear()
        os.environ.update({**start.environment, "POLARS_MAX_THREADS": str(start.threads)})
        state, worker, sending = RunState(), BundleWorker(), threading.Lock()
        told: tuple[str, ...] = ()

        def send_news() -> None:
            nonlocal told
            with sending:
                counted, lines = state.take(), tuple(waits.lines())
                if counted or lines != told:
                    pipe.send(News(counted, lines))
                told = lines

        with observed() as waits, registered(start.token, state), _repeated(send_news):
            while True:
                task: Task = pipe.recv()
                if task.descriptor:
                    worker.learn(task.descriptor)
                answer = _answer(worker, task.bundle)
                send_news()
                with sending:
                    pipe.send(answer)


def _answer(worker: BundleWorker, bundle: Bundle) -> Processed | Failed:
    try:
        return worker.process(bundle)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return Failed(RuntimeError(f"{type(error).__name__}: {error}"))
        return Failed(error)


@contextmanager
def _repeated(call: Callable[[], None]) -> Iterator[None]:
    """Repeat the call while the block lasts."""
    ended = threading.Event()

    def loop() -> None:
        with suppress(OSError):
            while not ended.wait(NEWS_SECONDS):
                call()

    thread = threading.Thread(target=loop, name="news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
