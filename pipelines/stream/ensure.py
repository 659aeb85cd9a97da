"""--ensure_running: an idempotent start, which makes sure that a job of this version runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from connectors.bookkeeping.leases import Leases
from contracts.errors import UsageError
from pipelines.engines.dataflow import CREATED
from pipelines.engines.job import Job, Jobs, JobState, follow
from pipelines.runs.settings import StreamSettings
from pipelines.stream.engine import Engine
from pipelines.stream.preflight import PreparedStream, prepare_stream
from pipelines.stream.replace import replace_prepared_stream
from pipelines.stream.run import run_prepared_stream
from pipelines.stream.status import StreamStatus, stream_status
from pipelines.stream.summary import StreamSummary
from transforms.ledger import State
from transforms.progress import Status

__all__ = ["Action", "EnsuredStream", "FailedStart", "ensure_stream"]


class Action(StrEnum):
    """What was done so that a job of this version runs."""

    STARTED = "started"
    KEPT = "kept"
    REPLACED = "replaced"


@dataclass(frozen=True, kw_only=True)
class EnsuredStream:
    """The stream's job after `action`."""

    action: Action
    status: StreamStatus

    @property
    def state(self) -> State:
        """RUNNING if the job runs or starts, FAILED if it has ended."""
        job = self.status.job
        return State.RUNNING if job and not job.state.ended else State.FAILED

    def to_json(self) -> dict[str, Any]:
        """Return what `--summary` writes."""
        head = {"pipeline": "stream", "state": self.state.value, "action": self.action.value}
        return {**head, **self.status.to_json()}


@dataclass(frozen=True, kw_only=True)
class FailedStart:
    """A start, for `action`, that ended before the job was left to its engine."""

    action: Action
    summary: StreamSummary

    @property
    def state(self) -> State:
        """How the run has ended."""
        return self.summary.state

    def to_json(self) -> dict[str, Any]:
        """Return what `--summary` writes."""
        return {**self.summary.to_json(), "action": self.action.value}


def ensure_stream(
    settings: StreamSettings, log: Callable[[str], None], show: Callable[[Status], None]
) -> EnsuredStream | FailedStart:
    """Start the stream's job if none runs, keep one of this version, replace one of another version.

    `show` gets the status of a start at intervals. Raises a ReportedError for what is refused; a job that runs is not
    touched then.
    """
    settings = replace(settings, beam=settings.beam.changed(no_wait_until_finish=True))
    engine = Engine.of(settings.beam)
    if engine is None:
        raise UsageError(
            f"--ensure_running: a stream on {settings.beam.runner or 'no --runner'} ends with its launcher; use"
            " DataflowRunner, or FlinkRunner on a cluster (--flink_master)"
        )
    jobs = engine.jobs
    job = jobs.find(engine.name)
    if job and job.state is JobState.STOPPING:
        log(f"job {job.name} ({job.id}) is {job.state}; a new one is started when it has ended")
        job = _wait_for_end(jobs, job, log)
    live = job if job and not job.state.ended else None
    if live is None:
        engine.refuse_unless_new()
    prepared = prepare_stream(settings, log)  # before a job that runs is ended: what cannot start must not replace it
    if live is None:
        return _start(prepared, engine, Action.STARTED, log, show)
    if live.version == prepared.version:
        log(f"job {live.name} ({live.id}) is {live.state}, of this version ({prepared.version}): kept")
        if jobs.replaces:  # the text that Airflow's operator looks for; else it uses the last job of that name
            log(f"its start has logged: {CREATED.format(live.id)}")
        return EnsuredStream(action=Action.KEPT, status=stream_status(settings, live))
    log(
        f"job {live.name} ({live.id}) is of version {live.version or 'unknown'}, this is {prepared.version}:"
        " it is replaced"
    )
    if jobs.replaces:
        live = follow(jobs, live, lambda now: now.state is not JobState.STARTING, log)
        new = replace_prepared_stream(prepared, jobs, live, log)
        return EnsuredStream(action=Action.REPLACED, status=stream_status(settings, new))
    _end(jobs, live, prepared, log)
    engine.refuse_unless_new()
    return _start(prepared, engine, Action.REPLACED, log, show)


def _start(
    prepared: PreparedStream, engine: Engine, action: Action, log: Callable[[str], None], show: Callable[[Status], None]
) -> EnsuredStream | FailedStart:
    summary = run_prepared_stream(prepared, engine, log, show)
    if summary.state is not State.RUNNING:
        return FailedStart(action=action, summary=summary)
    return EnsuredStream(action=action, status=stream_status(prepared.settings, engine.jobs.find(engine.name)))


def _end(jobs: Jobs, job: Job, prepared: PreparedStream, log: Callable[[str], None]) -> None:
    """Drain the job and release the leases that it has kept, which would lapse only half a minute later."""
    leases = Leases(prepared.warehouse, prepared.settings.operations_dataset)
    tokens = {holder.token for holder in leases.holders(prepared.lease_names)}
    jobs.drain(job)
    _wait_for_end(jobs, job, log)
    for token in tokens:
        leases.release(prepared.lease_names, token)


def _wait_for_end(jobs: Jobs, job: Job, log: Callable[[str], None]) -> Job:
    return follow(jobs, job, lambda now: now.state.ended, log)
