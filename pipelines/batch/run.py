"""A batch from its settings to its summary, which is read from the run's ledger."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from apache_beam.runners.runner import PipelineRunner

from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from contracts.errors import ReportedError
from pipelines.batch.direct import on_this_machine
from pipelines.batch.graph import Batch
from pipelines.batch.preflight import PreparedBatch, prepare_batch
from pipelines.batch.summary import BatchSummary, batch_summary
from pipelines.engines.dataflow import submit
from pipelines.engines.fork_server import ForkServer
from pipelines.engines.job_options import batch_options
from pipelines.engines.pipeline import new_pipeline
from pipelines.engines.runners import is_dataflow
from pipelines.runs.beam_arguments import BeamArguments
from pipelines.runs.leasing import refuse_unless_free
from pipelines.runs.settings import BatchSettings
from transforms.progress import Progress
from transforms.run_state import RunState, registered

__all__ = ["execute", "run_batch"]

logger = logging.getLogger(__name__)
EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Z]\w*: |[A-Z]\w*(?:Error|Exception): ")
"""How the last part of a traceback begins: the class of the exception."""


def run_batch(
    settings: BatchSettings,
    log: Callable[[str], None],
    state: RunState | None = None,
    show_progress: Callable[[Progress], AbstractContextManager[None]] | None = None,
    server: ForkServer | None = None,
) -> BatchSummary:
    """Run a batch to its end and return its summary. Raises a ReportedError for what is refused before the start.

    `state` has the run's progress and metrics while it lasts; `show_progress(progress)` is entered while the graph
    runs. `server` starts the workers of DirectRunner; without it there is one process.
    """
    started, began = time.monotonic(), datetime.now(UTC)
    prepared = prepare_batch(settings, log)
    batch = prepared.batch
    state = state or RunState()
    why = None
    if prepared.finished:
        log(f"run {batch.run.run_id} is done already; nothing to do")
    elif batch.inputs:
        log(f"run {batch.run.run_id}: {_counted(len(batch.inputs), 'file')}, {', '.join(batch.tables)}")
        state.progress.total = sum(file.size for file in batch.inputs)
        display = show_progress(state.progress) if show_progress else nullcontext()
        with registered(batch.run.token, state), display:
            why = execute(prepared, settings.beam, log, settings.workers, server)
    return batch_summary(prepared, began, why, time.monotonic() - started)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def execute(
    prepared: PreparedBatch,
    beam: BeamArguments,
    log: Callable[[str], None],
    workers: int | None = None,
    server: ForkServer | None = None,
) -> str | None:
    """Run the graph under the tables' leases; return why it failed, None if it did not.

    With DirectRunner and a `server` it has several processes: `workers`, or as many as the input pays for.
    """
    destination, run = prepared.destination, prepared.batch.run
    leases = Leases(destination.warehouse, run.operations_dataset)
    names = [destination.qualified(name) for name in prepared.batch.tables]
    refuse_unless_free(leases, names, run, log)
    on_runner: AbstractContextManager[tuple[Batch, PipelineRunner | None]] = nullcontext((prepared.batch, None))
    if (beam.runner or "DirectRunner") == "DirectRunner":
        on_runner = on_this_machine(prepared.batch, workers, server, log)
    with Heartbeat(leases, names, run.token), _noticing_interrupts() as interrupted, on_runner as (batch, runner):
        options = batch_options(beam)
        pipeline = new_pipeline(options, runner)
        batch.build(pipeline)
        try:
            submit(pipeline, log).wait_until_finish()
        except ReportedError:
            raise
        except KeyboardInterrupt:
            if is_dataflow(options):
                log("the job continues without this launcher: the graph loads, merges and closes the run by itself")
            raise
        except Exception as error:
            logger.debug("the job failed", exc_info=True)
            if interrupted.is_set():  # FnApiRunner turns KeyboardInterrupt into an error of the step, as text
                raise KeyboardInterrupt from None
            return reason_of(error)
    return None


def reason_of(error: Exception) -> str:
    """Return an error of a job in one line: Beam's text ends with the exception of the step, which may have lines."""
    lines = [line for line in str(error).splitlines() if line.strip(" ^")]
    named = [line for line in lines if EXCEPTION.match(line)]
    return (named or lines or [type(error).__name__])[-1].strip()


@contextmanager
def _noticing_interrupts() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets during the block; the previous handlers run as well."""
    interrupted = threading.Event()
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def notice(signum: int, frame: FrameType | None) -> None:
        interrupted.set()
        if not callable(previous[signum]):
            raise KeyboardInterrupt
        previous[signum](signum, frame)

    for number in previous:
        signal.signal(number, notice)
    try:
        yield interrupted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
