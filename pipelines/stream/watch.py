"""A running stream's job, watched: its status, when to stop, and how it is stopped or left to its engine."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from apache_beam.runners.runner import PipelineResult, PipelineState
from grpc import RpcError
from kafka.errors import KafkaError

from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.stream_ledger import RecordedTally
from connectors.kafka.client import NoBroker
from connectors.kafka.lag import lag
from connectors.sources.read_offsets import ReadOffsets
from pipelines.engines.job import Job, JobState
from pipelines.stream.engine import Engine
from pipelines.stream.leased import LeasedStream
from transforms import waits
from transforms.progress import Status
from transforms.tally import Tally

__all__ = ["Stop", "Watch", "cancel"]

POLL_SECONDS = 0.5
STOP_SECONDS = 30.0
"""How long blocks in flight may take when a stream is stopped."""
LEDGER_SECONDS = (5.0, 300.0)
"""How old the displayed counts of a job that runs elsewhere may be, at first and later: BigQuery reads all lines of
the day for them."""
LEDGER_SHARE = 1 / 12
"""They may be as old as this share of the time since the start."""
KEEP_SECONDS = 600.0
"""How often the upkeep of the stream is done."""
QUIET_SECONDS = 3.0
"""How long the lag may stay unchanged before it is examined: it may be transaction markers, which no reader sees."""
MAX_WAITS = 2
"""How many services that are being retried the status names."""
ENDED = (
    PipelineState.FAILED,
    PipelineState.CANCELLED,
    PipelineState.DONE,
    PipelineState.STOPPED,
    PipelineState.DRAINED,
)
logger = logging.getLogger(__name__)


class Watch:
    """Watches a running job: reports its status, and decides when to stop or to leave it."""

    def __init__(
        self,
        stream: LeasedStream,
        *,
        stop: Stop,
        heartbeat: Heartbeat,
        engine: Engine | None,
        show: Callable[[Status], None],
        log: Callable[[str], None],
    ) -> None:
        """A job with an `engine` outlives this process: it is left, and not stopped."""
        self._stream, self._offsets = stream, stream.prepared.offsets
        self._idle_seconds = stream.prepared.settings.stop_when_idle
        self._stop, self._heartbeat, self._engine = stop, heartbeat, engine
        self._show, self._log = show, log
        self._began = time.monotonic()
        self._start = sum(self._committed().values())
        self._lag = -1
        self._counts_time, self._counts = 0.0, Tally()
        self._ledger_began: datetime | None = None
        self._upkeep = replace(stream.upkeep(), offsets=self._offsets)  # it must not wait for Kafka
        self.left: Job | None = None
        """The job, once it has been left to its engine."""
        self._lag_changed = self._idle_since = self._kept = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether a stop was requested, or the stream has lost its lease."""
        return self._stop.requested.is_set() or self._heartbeat.lost.is_set()

    def until_stopped(self, result: PipelineResult, attempt: str) -> str | None:
        """Wait until the job fails (return why) or until it has been stopped and nothing is in flight (None)."""
        self._stop.listen()
        while True:
            if self._heartbeat.lost.is_set():
                return "another run has taken the lease"
            if why := _failure(result):
                return self._engine.reason(why) if self._engine else why
            stop_requested = self._stop.requested.wait(POLL_SECONDS)
            if self._engine and (stop_requested or self._engine.leave_at_once or _replaced(result)):
                if self._leave(self._engine, stop_requested):
                    return None
            elif stop_requested or self._idle():
                return self._drain(result, attempt)

    def _leave(self, engine: Engine, stop_requested: bool) -> bool:
        """Leave the job if it runs, or if a stop is requested and the engine has it; return whether it was left."""
        job = engine.jobs.find(engine.name)
        if job is None or not (stop_requested or job.state is JobState.RUNNING):
            time.sleep(POLL_SECONDS)
            return False
        self.left = job
        return True

    def _idle(self) -> bool:
        """Report the status; return whether there has been nothing to read for --stop_when_idle seconds."""
        now = time.monotonic()
        try:
            remaining, committed = self._progress(now)
            if now - self._kept > KEEP_SECONDS:
                self._kept = now
                self._keep_up()
        except (KafkaError, OSError, NoBroker) as error:  # the broker is away: the job waits for it too
            logger.info("no answer from Kafka: %s", error)
            return False
        counts = self._current_counts()
        self._show(
            Status(
                seconds=now - self._began,
                committed=committed - self._start,
                lag=remaining,
                written=counts.written,
                duplicate=counts.duplicate,
                dead_letter=counts.dead_letter,
                duplicate_differs=counts.duplicate_differs,
                waiting="; ".join(waits.lines()[:MAX_WAITS]),
            )
        )
        if remaining:
            self._idle_since = now
        return self._idle_seconds is not None and now - self._idle_since >= self._idle_seconds

    def _keep_up(self) -> None:
        try:
            self._upkeep()
        except Exception:  # the next time is soon enough
            logger.info("the upkeep of the stream failed", exc_info=True)

    def _current_counts(self) -> Tally:
        """Return the run's counts: this process's own, or the ledger's if the job runs elsewhere."""
        if not self._engine:
            return self._stream.state.part(RecordedTally).total()
        now = time.monotonic()
        soonest, latest = LEDGER_SECONDS
        if now - self._counts_time > min(latest, max(soonest, LEDGER_SHARE * (now - self._began))):
            stream, ledger = self._stream, self._stream.ledger
            self._ledger_began = self._ledger_began or ledger.began(stream.run)
            self._counts_time = now
            self._counts = ledger.total(stream.run, stream.prepared.datasets, self._ledger_began)
        return self._counts

    def _progress(self, now: float) -> tuple[int, int]:
        """Return the number of offsets that are left to read, and the sum of the committed offsets.

        If the lag has not changed for a while, commit the offsets of sources that have only transaction markers left.
        """
        committed = self._committed()
        ends = self._offsets.ends(list(committed))
        remaining = sum(lag(committed, ends).values())
        if remaining != self._lag:
            self._lag, self._lag_changed = remaining, now
        elif remaining and now - self._lag_changed > QUIET_SECONDS:
            self._lag_changed = now
            for source, position in committed.items():
                if self._offsets.nothing_to_read(source, position, ends[source]):
                    self._offsets.commit({source: ends[source]})
        return remaining, sum(committed.values())

    def _committed(self) -> dict[str, int]:
        sources = self._stream.prepared.sources()
        return {source: position or 0 for source, position in self._offsets.committed(sources).items()}

    def _drain(self, result: PipelineResult, attempt: str) -> str | None:
        """Stop reading and wait until what was read is committed. Return why it was not, None if it was."""
        if self._stop.requested.is_set():
            self._log(
                f"writing what is in flight, at most {STOP_SECONDS:g} s; Ctrl-C again ends at once, and the next start"
                " reads it again"
            )
        ends = self._stream.state.part(ReadOffsets).stop(attempt)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            try:
                committed = self._offsets.committed(ends)
            except (KafkaError, OSError, NoBroker):
                committed = dict.fromkeys(ends, 0)
            if not any(lag(committed, ends).values()):
                return None
            if why := _failure(result):
                return why
            time.sleep(POLL_SECONDS)
        why = f"blocks in flight were not written within {STOP_SECONDS:g} s; the next start reads them again"
        return "; ".join([why, *waits.lines()[:1]])


def _failure(result: PipelineResult) -> str | None:
    """Return why the job has ended, None while it runs."""
    try:
        state = result.state
        if state not in ENDED:
            return None
        result.wait_until_finish()
    except RpcError as error:
        return f"the runner has ended ({str(error).splitlines()[0]})"
    except Exception as error:
        logger.debug("the job failed", exc_info=True)
        return _cause(str(error))
    return f"the job ended by itself ({state})"


def _replaced(result: PipelineResult) -> bool:
    """Return whether another job has replaced this one: `stream update`."""
    return bool(result.state == PipelineState.UPDATED)


def _cause(message: str) -> str:
    """Return the one line to report of a runner's error, which is the whole trace of a worker."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Lost|DeadlineExceeded|Unrecoverable|Exception)\b", line)]
    return (named or lines or ["no reason given"])[-1][:500]


def cancel(result: PipelineResult) -> None:
    """End the job, if it has not ended."""
    try:
        if result.state not in ENDED:
            result.cancel()
    except RpcError:
        logger.debug("the runner has ended", exc_info=True)


class Stop:
    """During the block, SIGINT and SIGTERM set `requested` and log it; a second signal interrupts."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.requested = threading.Event()
        self._log = log

    def __enter__(self) -> Stop:
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Install the signal handlers, again if need be: Beam's job servers replace them with ones that end the job."""
        for number in self._previous:
            signal.signal(number, self._request)

    def _request(self, _signum: int, _frame: object) -> None:
        if self.requested.is_set():
            raise KeyboardInterrupt
        self.requested.set()
        # In a thread: the signal may have come while a line was being written.
        threading.Thread(target=self._log, args=("stopping; Ctrl-C again ends at once",), daemon=True).start()
