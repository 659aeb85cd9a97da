"""A stream from its options to its exit code: submitted, watched, submitted again after a failure, stopped cleanly.

A job on Dataflow or on a Flink cluster outlives its launcher, which leaves it when it is told to stop, or as soon as
it runs (Beam's --no_wait_until_finish).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    CrossLanguageOptions,
    DebugOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from connectors.leases import Heartbeat, Leases
from connectors.ledger_table import LedgerTable
from pipelines.batch_run import refuse_unless_free
from pipelines.dataflow import dataflow_options, is_dataflow, submit
from pipelines.jobs import carry_version, stream_version
from pipelines.options import StreamOptions
from pipelines.runners import flink_cluster, keep_bundles_whole
from pipelines.stream_preflight import PreparedStream, prepare_stream, resolve_starts, with_buckets
from pipelines.stream_summary import stream_summary
from pipelines.stream_watch import Engine, Stop, Watch, cancel
from transforms.ledger import State
from transforms.progress import Status

__all__ = ["graph_of", "leased", "run_stream", "streaming_options"]


def run_stream(
    options: PipelineOptions, servers: str | None, log: Callable[[str], None], show: Callable[[Status], None]
) -> dict[str, Any]:
    """Run a stream until it is stopped, idle or beyond help; the summary. Misuse for what is refused before it starts.

    SIGINT and SIGTERM stop it, or leave it where it outlives this process: then its state is `running`. `show` is told
    now and then how it goes.
    """
    streams = options.view_as(StreamOptions)
    streaming_options(options)
    engine = Engine.of(options)
    if engine:
        engine.refuse_unless_new()
    prepared = prepare_stream(options, servers, log)
    if engine:
        prepared = prepared.outliving()
    to, run = prepared.stream.destination, prepared.stream.destination.run
    began = time.monotonic()
    with Stop() as stop, leased(prepared, streams, log) as (prepared, heartbeat):
        ways = [f"{topic} into {name}" for topic, name in prepared.stream.topics.items()]
        log(f"run {run.run_id}: {', '.join(ways)}")
        if options.view_as(PortableOptions).environment_type == "LOOPBACK":
            # Every bucket will be this process's: it takes them while the engine starts.
            take = prepared.stream.destination.take_lanes
            threading.Thread(target=take, name="take-lanes", daemon=True).start()
        watch = Watch(prepared, streams.stop_when_idle, stop, heartbeat, show, engine)
        why = _attempts(prepared, options, streams.max_restarts, watch, log)
        if watch.left:
            heartbeat.hand_over()
            log(f"job {watch.left.name} ({watch.left.id}) runs on; see launcher.py stream status, drain, cancel")
    state = State.RUNNING if watch.left else State.FAILED if why else State.DONE
    found = stream_summary(prepared, state, why, time.monotonic() - began)
    if not watch.left:
        ledger = LedgerTable(to.warehouse, run.operations_dataset)
        ledger.record_end(run, State(found["state"]), {"why": found["why"]} if found.get("why") else {})
    return found


@contextmanager
def leased(
    prepared: PreparedStream, streams: StreamOptions, log: Callable[[str], None]
) -> Iterator[tuple[PreparedStream, Heartbeat]]:
    """Hold the stream's leases while the block lasts; the stream as it may start then: buckets known, a first offset
    committed for every partition. Misuse where another run holds a lease.
    """
    run = prepared.stream.destination.run
    leases = Leases(prepared.stream.destination.warehouse, run.operations_dataset)
    refuse_unless_free(leases, prepared.lease_names, run, log)
    with Heartbeat(leases, prepared.lease_names, run.token) as heartbeat:
        prepared = with_buckets(prepared, streams.buckets)
        resolve_starts(prepared, streams.start_from, log)
        yield prepared, heartbeat


@contextmanager
def graph_of(prepared: PreparedStream, options: PipelineOptions, attempt: str) -> Iterator[beam.Pipeline]:
    """The job's graph, and the expansion service while the block lasts: where the Java half of the job runs in it, it
    has to live as long as the job. (Beam's own `with Pipeline` does the same, but waits for the job's end.)
    """
    services = options.view_as(CrossLanguageOptions).beam_services
    with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
        pipeline = beam.Pipeline(options=options)
        carry_version(pipeline.options, stream_version(prepared.stream.destination.tables))
        replace(prepared.stream, attempt=attempt).build(pipeline)
        yield pipeline


def _attempts(
    prepared: PreparedStream, options: PipelineOptions, max_restarts: int, watch: Watch, log: Callable[[str], None]
) -> str | None:
    """Submit the job until it was stopped; why it failed in the end, None where it did not."""
    for restart in range(max_restarts + 1):
        attempt = f"{prepared.stream.destination.run.token}-{restart}"
        why = _attempt(prepared, options, attempt, watch, log)
        if why is None or watch.stopped:
            return why
        log(f"the job failed: {why}" + (f"; restart {restart + 1} of {max_restarts}" if restart < max_restarts else ""))
    return why


def _attempt(
    prepared: PreparedStream, options: PipelineOptions, attempt: str, watch: Watch, log: Callable[[str], None]
) -> str | None:
    """One execution of the job, to its failure (why) or until it is stopped (None)."""
    with graph_of(prepared, options, attempt) as pipeline:
        result = submit(pipeline, log)
        try:
            return watch.until_stopped(result, attempt)
        finally:
            if not watch.left:
                cancel(result)


def streaming_options(options: PipelineOptions) -> None:
    """Set what every stream needs of its runner, where the caller has not said otherwise."""
    options.view_as(StandardOptions).streaming = True
    # Beam walks every cached state value to know its size, which costs more than the state does.
    options.view_as(WorkerOptions).max_cache_memory_usage_mb = 0
    if is_dataflow(options):
        dataflow_options(options)
        return
    keep_bundles_whole()
    options.view_as(DebugOptions).add_experiment("disable_prism_server_singleton")  # a failed Prism is not used again
    portable = options.view_as(PortableOptions)
    if not flink_cluster(options):
        portable.environment_type = portable.environment_type or "LOOPBACK"
