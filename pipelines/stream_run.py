"""A stream from its options to its exit code: submitted, watched, submitted again after a failure, stopped cleanly."""

from __future__ import annotations

import logging
import re
import signal
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
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer
from grpc import RpcError
from kafka.errors import KafkaError

from connectors.kafka_client import NoBroker
from connectors.kafka_source import stop_reading
from connectors.leases import Heartbeat, Leases
from connectors.ledger_table import LedgerTable
from connectors.stream_ledger import recorded
from pipelines.batch_run import refuse_unless_free
from pipelines.dataflow import is_dataflow, stream_on_dataflow
from pipelines.options import StreamOptions
from pipelines.stream_preflight import PreparedStream, prepare_stream, resolve_starts, with_buckets
from pipelines.stream_summary import stream_summary
from transforms.ledger import State
from transforms.progress import Status

__all__ = ["graph_of", "leased", "run_stream", "streaming_options"]

POLL_SECONDS = 0.5
STOP_SECONDS = 30.0
"""How long blocks in flight may take when a stream is stopped."""
QUIET_SECONDS = 3.0
"""After which an unchanged lag is looked into: it may be marks of transactions, which nobody reads."""
ENDED = (
    PipelineState.FAILED,
    PipelineState.CANCELLED,
    PipelineState.DONE,
    PipelineState.STOPPED,
    PipelineState.DRAINED,
)
logger = logging.getLogger(__name__)


def run_stream(
    options: PipelineOptions, servers: str | None, log: Callable[[str], None], show: Callable[[Status], None]
) -> dict[str, Any]:
    """Run a stream until it is stopped, idle or beyond help; the summary. Misuse for what is refused before it starts.

    SIGINT and SIGTERM stop it. `show` is told now and then how it goes.
    """
    streams = options.view_as(StreamOptions)
    streaming_options(options)
    prepared = prepare_stream(options, servers, log)
    to, run = prepared.stream.destination, prepared.stream.destination.run
    began = time.monotonic()
    with _Stop() as stop, leased(prepared, streams, log) as (prepared, heartbeat):
        ways = [f"{topic} into {name}" for topic, name in prepared.stream.topics.items()]
        log(f"run {run.run_id}: {', '.join(ways)}")
        watch = _Watch(prepared, streams.stop_when_idle, stop, heartbeat, show)
        why = _attempts(prepared, options, streams.max_restarts, watch, log)
    state = State.FAILED if why else State.DONE
    ledger = LedgerTable(to.warehouse, run.operations_dataset)
    found = stream_summary(prepared, state, why, time.monotonic() - began)
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
        replace(prepared.stream, attempt=attempt).build(pipeline)
        yield pipeline


def _attempts(
    prepared: PreparedStream, options: PipelineOptions, max_restarts: int, watch: _Watch, log: Callable[[str], None]
) -> str | None:
    """Submit the job until it was stopped; why it failed in the end, None where it did not."""
    for restart in range(max_restarts + 1):
        attempt = f"{prepared.stream.destination.run.token}-{restart}"
        why = _attempt(prepared, options, attempt, watch)
        if why is None or watch.stopped:
            return why
        log(f"the job failed: {why}" + (f"; restart {restart + 1} of {max_restarts}" if restart < max_restarts else ""))
    return why


def _attempt(prepared: PreparedStream, options: PipelineOptions, attempt: str, watch: _Watch) -> str | None:
    """One execution of the job, to its failure (why) or until it is stopped (None)."""
    with graph_of(prepared, options, attempt) as pipeline:
        result = pipeline.run()
        try:
            return watch.until_stopped(result, attempt)
        finally:
            _cancel(result)


class _Watch:
    """Looks after a running job: tells how it goes, and when it is time to stop."""

    def __init__(
        self, prepared: PreparedStream, idle_seconds: float | None, stop: _Stop, heartbeat: Heartbeat,
        show: Callable[[Status], None],
    ) -> None:  # fmt: skip
        self._prepared = prepared
        self._offsets = prepared.offsets
        self._idle_seconds = idle_seconds
        self._stop = stop
        self._heartbeat = heartbeat
        self._show = show
        self._began = time.monotonic()
        self._start = sum(self._committed().values())
        self._lag = -1
        self._changed = self._idle_since = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether the stream was told to stop, or may not go on."""
        return self._stop.asked.is_set() or self._heartbeat.lost.is_set()

    def until_stopped(self, result: PipelineResult, attempt: str) -> str | None:
        """Wait until the job fails (why) or has been stopped and nothing is in flight (None)."""
        self._stop.listen()
        while True:
            if self._heartbeat.lost.is_set():
                return "another run has taken the lease"
            if why := _failure(result):
                return why
            if self._stop.asked.wait(POLL_SECONDS) or self._idle():
                return self._drain(result, attempt)

    def _idle(self) -> bool:
        """Whether nothing was left to read for as long as it takes to stop."""
        now = time.monotonic()
        try:
            lag, committed = self._look(now)
        except (KafkaError, OSError, NoBroker) as error:  # the broker is away: the job waits for it too
            logger.info("no answer from Kafka: %s", error)
            return False
        doors = recorded(self._prepared.stream.destination.run.run_id)
        self._show(
            Status(now - self._began, committed - self._start, lag, doors.written, doors.duplicate, doors.dead_letter)
        )
        if lag:
            self._idle_since = now
        return self._idle_seconds is not None and now - self._idle_since >= self._idle_seconds

    def _look(self, now: float) -> tuple[int, int]:
        """How many offsets are left to read, and the sum of those committed."""
        committed = self._committed()
        ends = self._offsets.ends(list(committed))
        lag = sum(max(0, ends[source] - at) for source, at in committed.items())
        if lag != self._lag:
            self._lag, self._changed = lag, now
        elif lag and now - self._changed > QUIET_SECONDS:
            self._changed = now
            beginnings = self._offsets.beginnings(list(committed))
            for source, at in committed.items():
                # What the broker has removed (not only marks, then) may be in blocks that BigQuery does not take yet.
                if not beginnings[source] <= at < ends[source]:
                    continue
                if self._offsets.next_record(source, at, ends[source]) >= ends[source]:
                    self._offsets.commit({source: ends[source]})  # marks of transactions, compacted records
        return lag, sum(committed.values())

    def _committed(self) -> dict[str, int]:
        return {source: at or 0 for source, at in self._offsets.committed(self._prepared.sources()).items()}

    def _drain(self, result: PipelineResult, attempt: str) -> str | None:
        """Stop reading, and wait until what was read is committed; why it was not, None where it was."""
        ends = stop_reading(attempt)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            try:
                committed = self._offsets.committed(ends)
            except (KafkaError, OSError, NoBroker):
                committed = dict.fromkeys(ends, 0)
            if all((committed[source] or 0) >= end for source, end in ends.items()):
                return None
            if why := _failure(result):
                return why
            time.sleep(POLL_SECONDS)
        return f"blocks in flight were not written within {STOP_SECONDS:g} s; the next start reads them again"


def _failure(result: PipelineResult) -> str | None:
    """Why the job has ended, None while it runs."""
    try:
        state = result.state
        if state not in ENDED:
            return None
        result.wait_until_finish()
    except RpcError as error:
        return f"the runner is gone ({str(error).splitlines()[0]})"
    except Exception as error:
        logger.debug("the job failed", exc_info=True)
        return _cause(str(error))
    return f"the job ended by itself ({state})"


def _cause(message: str) -> str:
    """The line that matters of a runner's error, which holds a whole trace of a worker."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Lost|NoAnswer|Exception)\b", line)]
    return (named or lines or ["no reason given"])[-1][:500]


def _cancel(result: PipelineResult) -> None:
    try:
        if result.state not in ENDED:
            result.cancel()
    except RpcError:
        logger.debug("the runner is gone", exc_info=True)


class _Stop:
    """SIGINT and SIGTERM set `asked` while the block lasts; a second one interrupts."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __enter__(self) -> _Stop:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Be told of signals, whoever has asked for that since: Beam's job servers do when they start, to end at
        once and the job with them."""
        for number in self._before:
            signal.signal(number, self._ask)

    def _ask(self, signum: int, frame: object) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()


def streaming_options(options: PipelineOptions) -> None:
    """Set what every stream needs of its runner, where the caller has not said otherwise."""
    options.view_as(StandardOptions).streaming = True
    # Beam walks every cached state value to know its size, which costs more than the state does.
    options.view_as(WorkerOptions).max_cache_memory_usage_mb = 0
    if is_dataflow(options):
        stream_on_dataflow(options)
        return
    options.view_as(DebugOptions).add_experiment("disable_prism_server_singleton")  # a failed Prism is not used again
    portable = options.view_as(PortableOptions)
    portable.environment_type = portable.environment_type or "LOOPBACK"
