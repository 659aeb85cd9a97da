"""The workers of a batch as the launcher sees them: they process bundles, and count for the launcher's run state."""

from __future__ import annotations

import os
import queue
import threading

from connectors.upstream.beam_workers import Bundle, Processed, WorkerRunner
from pipelines.engines.fork_server import ForkServer
from pipelines.engines.machine import usable_cores
from pipelines.engines.worker import Failed, News, Start, Task
from transforms.run_state import RunState
from transforms.waits import elsewhere

__all__ = ["WorkerEnded", "Workers"]

BUNDLES_FOR_EACH = 4
"""Bundles of a stage for each worker: one with slow bundles gets fewer of them."""


class WorkerEnded(RuntimeError):
    """A worker process has ended before its work."""


class Workers:
    """Started workers of a run. Any thread may give them bundles. After the first error they are gone.

    What they count goes to `state`, what they retry to this process's waits.
    """

    def __init__(self, server: ForkServer, count: int, token: str, state: RunState) -> None:
        self._server, self._state = server, state
        self._pipes = server.start(count)
        self._known: list[set[str]] = [set() for _ in self._pipes]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        threads = max(1, usable_cores() // count)
        for number, pipe in enumerate(self._pipes):
            pipe.send(Start(token, dict(os.environ), threads))
            self._free.put(number)

    def runner(self, here: tuple[str, ...]) -> WorkerRunner:
        """Return a runner of all steps in these workers, except those `here`: prefixes of their names."""
        return WorkerRunner(BUNDLES_FOR_EACH * len(self._pipes), self.process, here)

    def process(self, bundle: Bundle, descriptor: bytes) -> Processed:
        """Have a worker process the bundle of a stage. Raises the first error of any bundle, which ends all workers."""
        worker = self._free.get()
        try:
            if self._error is None:
                return self._processed(worker, bundle, descriptor)
        except Exception as error:
            with self._lock:
                self._error = self._error or error
            self._server.stop()
        finally:
            self._free.put(worker)
        raise self._error

    def _processed(self, worker: int, bundle: Bundle, descriptor: bytes) -> Processed:
        pipe, known = self._pipes[worker], self._known[worker]
        try:
            pipe.send(Task(bundle, None if bundle.descriptor in known else descriptor))
            known.add(bundle.descriptor)
            while isinstance(answer := pipe.recv(), News):
                self._state.add(answer.counted)
                elsewhere(worker, answer.waits)
        except (EOFError, OSError):
            why = self._server.why_ended(worker)
            raise WorkerEnded(
                f"a worker process has ended {why}; the same --run_id continues the run, with fewer --workers if memory"
                " is short"
            ) from None
        if isinstance(answer, Failed):
            raise answer.error
        assert isinstance(answer, Processed)
        return answer
