"""A stream from its settings to its summary: submitted, watched, submitted again after a failure, stopped cleanly.

A job on Dataflow or on a Flink cluster outlives its launcher, which leaves it on a signal to stop, or as
soon as the job runs (Beam's --no_wait_until_finish).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from apache_beam.options.pipeline_options import PortableOptions

from connectors.bookkeeping.stream_ledger import differing
from pipelines.engines.dataflow import submit
from pipelines.engines.job_options import stream_options
from pipelines.runs.settings import StreamSettings
from pipelines.stream.engine import Engine
from pipelines.stream.folds import Folds
from pipelines.stream.leased import LeasedStream, graph_of, leased
from pipelines.stream.preflight import PreparedStream, prepare_stream
from pipelines.stream.summary import StreamSummary, stream_summary
from pipelines.stream.watch import Stop, Watch, cancel
from transforms.ledger import State
from transforms.progress import Status
from transforms.run_state import RunState

__all__ = ["run_prepared_stream", "run_stream"]


def run_stream(
    settings: StreamSettings, log: Callable[[str], None], show: Callable[[Status], None], state: RunState | None = None
) -> StreamSummary:
    """Run a stream until it is stopped, is idle or has failed; return its summary.

    Raises a ReportedError for what is refused before the start. SIGINT and SIGTERM stop the stream, or leave it where
    it outlives this process: its state is RUNNING then. `show` gets the status of the stream at intervals;
    `state` has the run's metrics while it lasts.
    """
    engine = Engine.of(settings.beam)
    if engine:
        engine.refuse_unless_new()
    return run_prepared_stream(prepare_stream(settings, log), engine, log, show, state)


def run_prepared_stream(
    prepared: PreparedStream,
    engine: Engine | None,
    log: Callable[[str], None],
    show: Callable[[Status], None],
    state: RunState | None = None,
) -> StreamSummary:
    """Run a stream that has passed its preflight, see `run_stream`."""
    settings = prepared.settings
    began = time.monotonic()
    with Stop(log) as stop, leased(prepared, log, state) as (stream, heartbeat):
        routes = [f"{topic} into {table}" for topic, table in prepared.topics.items()]
        log(f"run {stream.run.run_id}: {', '.join(routes)}")
        options = stream_options(settings.beam, prepared.version)
        if options.view_as(PortableOptions).environment_type == "LOOPBACK":
            # This process will own every bucket: it takes them while the engine starts.
            threading.Thread(target=stream.writers().take_buckets, name="take-buckets", daemon=True).start()
        watch = Watch(stream, stop=stop, heartbeat=heartbeat, engine=engine, show=show, log=log)
        folding = None if engine else stream.folding(prepared.offsets)  # a job that outlives us folds by itself
        with Folds(folding, log) as folds:
            why = _attempts(stream, engine, watch, log)
            if not heartbeat.lost.is_set():
                why = "; ".join(filter(None, [why, folds.finish()])) or None
        if watch.left:
            heartbeat.hand_over()
            log(f"job {watch.left.name} ({watch.left.id}) runs on; see launcher.py stream status, drain, cancel")
    end = State.RUNNING if watch.left else State.FAILED if why else State.DONE
    summary = stream_summary(stream, end, why, time.monotonic() - began)
    for name, table in summary.tables.items():
        if table.counts.duplicate_differs:
            log(differing(name, table.counts.duplicate_differs))
    if not watch.left:
        stream.ledger.record_end(stream.run, summary.state, {"why": summary.why} if summary.why else {})
    return summary


def _attempts(stream: LeasedStream, engine: Engine | None, watch: Watch, log: Callable[[str], None]) -> str | None:
    """Submit the job until it has been stopped; return why it failed in the end, None if it did not."""
    max_restarts = stream.prepared.settings.max_restarts
    for restart in range(max_restarts + 1):
        why = _attempt(stream, f"{stream.run.token}-{restart}", engine, watch, log)
        if why is None or watch.stopped:
            return why
        log(f"the job failed: {why}" + (f"; restart {restart + 1} of {max_restarts}" if restart < max_restarts else ""))
    return why


def _attempt(
    stream: LeasedStream, attempt: str, engine: Engine | None, watch: Watch, log: Callable[[str], None]
) -> str | None:
    """Run the job once, until it fails (return why) or is stopped (None)."""
    arguments = stream.prepared.settings.beam
    with graph_of(stream, arguments, attempt, outlives_launcher=engine is not None) as pipeline:
        result = submit(pipeline, log)
        try:
            return watch.until_stopped(result, attempt)
        finally:
            if not watch.left:
                cancel(result)
