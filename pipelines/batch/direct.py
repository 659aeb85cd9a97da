"""A batch with DirectRunner: in this process, or in several on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from connectors.files.scratch import scratch_folder
from pipelines.batch.graph import LAUNCHER_STEPS, Batch, expanded_bytes
from pipelines.engines.fork_server import ForkServer
from pipelines.engines.machine import available_memory
from pipelines.engines.workers import Workers
from transforms.parts import PartsInFiles

__all__ = ["on_this_machine", "worker_count"]

WORKER_INPUT_BYTES = 32 << 20
"""The input that pays for a worker: its start costs as much as decoding a few megabytes."""
WORKER_MEMORY_BYTES = 500_000_000
"""The memory that a worker may need, without what it shares with the others."""


def worker_count(input_bytes: int, most: int, memory: int | None) -> int:
    """Return the number of processes for an input, at least 1 and at most `most`; all sizes in bytes.

    `memory` is what is available, None if that is not known.
    """
    limits = [most, input_bytes // WORKER_INPUT_BYTES]
    if memory is not None:
        limits.append(memory // WORKER_MEMORY_BYTES)
    return max(1, min(limits))


@contextmanager
def on_this_machine(
    batch: Batch, wanted: int | None, server: ForkServer | None, log: Callable[[str], None]
) -> Iterator[tuple[Batch, FnApiRunner]]:
    """Yield the batch and the runner that runs it in `wanted` processes; None to choose the number.

    What the steps shuffle is in files while the block lasts. Without a server there is one process.
    """
    count = 1
    if server is not None:
        count = wanted or worker_count(expanded_bytes(batch.inputs), server.most, available_memory())
    with scratch_folder() as folder:
        batch = replace(batch, parts=PartsInFiles(folder))
        if server is None or count == 1:
            log("DirectRunner: running in this process, on Beam's FnApiRunner")
            yield batch, FnApiRunner()
            return
        log(f"DirectRunner: running in {count} processes, on Beam's FnApiRunner")
        try:
            yield batch, Workers(server, count, batch.run.token, batch.run.state).runner(LAUNCHER_STEPS)
        finally:
            server.close()  # before their folder is removed
