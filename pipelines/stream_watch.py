"""A running stream's job, watched: how it goes, when to stop, and how it is stopped or left to its engine."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState
from grpc import RpcError
from kafka.errors import KafkaError

from connectors.kafka_client import NoBroker
from connectors.kafka_source import stop_reading
from connectors.leases import Heartbeat
from connectors.ledger_table import LedgerTable
from connectors.stream_ledger import recorded
from contracts.errors import Misuse
from pipelines.jobs import Job, Jobs, JobState, job_name_of, jobs_of
from pipelines.stream_preflight import PreparedStream
from transforms.offsets import Tally
from transforms.progress import Status

__all__ = ["Engine", "Stop", "Watch", "cancel"]

POLL_SECONDS = 0.5
STOP_SECONDS = 30.0
"""How long blocks in flight may take when a stream is stopped."""
LEDGER_SECONDS = 5.0
"""How old the counts of a job elsewhere may be that are shown."""
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


@dataclass(frozen=True)
class Engine:
    """Where a job that outlives this process runs, and by which name."""

    jobs: Jobs
    name: str
    leave_at_once: bool

    @classmethod
    def of(cls, options: PipelineOptions) -> Engine | None:
        """None where the job ends with this process."""
        jobs = jobs_of(options)
        if jobs is None:
            return None
        name = job_name_of(options)
        options.view_as(GoogleCloudOptions).job_name = name
        return cls(jobs, name, bool(options.view_as(StandardOptions).no_wait_until_finish))

    def reason(self, of_beam: str) -> str:
        """Why a job has failed. Of a job on Dataflow that it has not waited for Beam says None: the engine knows."""
        job = self.jobs.find(self.name) if of_beam == "None" else None
        return job.detail if job else of_beam

    def refuse_unless_new(self) -> None:
        """Misuse where a job of that name runs."""
        job = self.jobs.find(self.name)
        if job and not job.state.ended:
            raise Misuse(
                f"job {self.name} is {job.state} already ({job.id}); launcher.py stream drain ends it,"
                " --ensure_running leaves or replaces it, --job_name names another"
            )


class Watch:
    """Looks after a running job: tells how it goes, and when it is time to stop."""

    def __init__(
        self, prepared: PreparedStream, idle_seconds: float | None, stop: Stop, heartbeat: Heartbeat,
        show: Callable[[Status], None], engine: Engine | None,
    ) -> None:  # fmt: skip
        """`engine` has the job where it outlives this process: it is then left, and not stopped."""
        self._prepared = prepared
        self._offsets = prepared.offsets
        self._idle_seconds = idle_seconds
        self._stop = stop
        self._heartbeat = heartbeat
        self._show = show
        self._began = time.monotonic()
        self._start = sum(self._committed().values())
        self._lag = -1
        self._asked, self._in_ledger = 0.0, Tally()
        self._engine = engine
        self.left: Job | None = None
        """The job, once it has been left to itself."""
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
                return self._engine.reason(why) if self._engine else why
            asked = self._stop.asked.wait(POLL_SECONDS)
            if self._engine and (asked or self._engine.leave_at_once or _replaced(result)):
                if self._leave(self._engine, asked):
                    return None
            elif asked or self._idle():
                return self._drain(result, attempt)

    def _leave(self, engine: Engine, asked: bool) -> bool:
        """Leave the job, if its engine has it by now: running, or in whatever state where a person asks."""
        job = engine.jobs.find(engine.name)
        if job is None or not (asked or job.state is JobState.RUNNING):
            time.sleep(POLL_SECONDS)
            return False
        self.left = job
        return True

    def _idle(self) -> bool:
        """Whether nothing was left to read for as long as it takes to stop."""
        now = time.monotonic()
        try:
            lag, committed = self._look(now)
        except (KafkaError, OSError, NoBroker) as error:  # the broker is away: the job waits for it too
            logger.info("no answer from Kafka: %s", error)
            return False
        doors = self._doors()
        self._show(
            Status(now - self._began, committed - self._start, lag, doors.written, doors.duplicate, doors.dead_letter)
        )
        if lag:
            self._idle_since = now
        return self._idle_seconds is not None and now - self._idle_since >= self._idle_seconds

    def _doors(self) -> Tally:
        run = self._prepared.stream.destination.run
        if not self._engine:
            return recorded(run.run_id)
        now = time.monotonic()
        if now - self._asked > LEDGER_SECONDS:
            self._asked = now
            self._in_ledger = LedgerTable(self._prepared.stream.destination.warehouse, run.operations_dataset).total(
                run.run_id
            )
        return self._in_ledger

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


def _replaced(result: PipelineResult) -> bool:
    """Whether another job has taken its place: `stream update`."""
    return bool(result.state == PipelineState.UPDATED)


def _cause(message: str) -> str:
    """The line that matters of a runner's error, which holds a whole trace of a worker."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Lost|NoAnswer|Exception)\b", line)]
    return (named or lines or ["no reason given"])[-1][:500]


def cancel(result: PipelineResult) -> None:
    """End the job, if it has not ended."""
    try:
        if result.state not in ENDED:
            result.cancel()
    except RpcError:
        logger.debug("the runner is gone", exc_info=True)


class Stop:
    """SIGINT and SIGTERM set `asked` while the block lasts; a second one interrupts."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __enter__(self) -> Stop:
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
