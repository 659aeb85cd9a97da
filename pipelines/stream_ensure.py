"""A stream that runs in the end, whatever was there before: --ensure_running, for callers that call again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from connectors.leases import Leases
from contracts.errors import Misuse
from pipelines.dataflow import CREATED
from pipelines.job_status import job_status
from pipelines.jobs import Job, Jobs, JobState, follow, stream_version
from pipelines.stream_preflight import PreparedStream, prepare_stream
from pipelines.stream_replace import replace_stream
from pipelines.stream_run import run_stream, streaming_options
from pipelines.stream_watch import Engine
from transforms.ledger import State
from transforms.progress import Status

__all__ = ["ensure_stream"]


def ensure_stream(
    options: PipelineOptions, servers: str | None, log: Callable[[str], None], show: Callable[[Status], None]
) -> dict[str, Any]:
    """Start the stream's job where none runs, leave one of this version, replace one of another. `show` is told how a
    start goes.

    What happened: that of `job_status`, with `did` (started, left or replaced) and `state`; the summary of the start
    where that failed. Misuse for what is refused: the job that runs is then left as it was.
    """
    streaming_options(options)
    engine = Engine.of(options)
    if engine is None:
        runner = options.view_as(StandardOptions).runner
        raise Misuse(
            f"--ensure_running: a stream on {runner or 'no --runner'} ends with its launcher; there are DataflowRunner,"
            " and FlinkRunner on a cluster (--flink_master)"
        )
    options.view_as(StandardOptions).no_wait_until_finish = True
    jobs = engine.jobs
    job = jobs.find(engine.name)
    if job and job.state is JobState.STOPPING:
        log(f"job {job.name} ({job.id}) is {job.state}; a new one is started when it has ended")
        job = _ended(jobs, job, log)
    did = "started"
    if job and not job.state.ended:
        prepared = prepare_stream(options, servers, log)  # what cannot run must not end what does
        version = stream_version(prepared.stream.destination.tables)
        if job.version == version:
            log(f"job {job.name} ({job.id}) is {job.state}, of this version ({version}): left as it is")
            if jobs.replaces:  # in the words that Airflow's operator looks for, else it goes by the name's last job
                log(f"its start has said: {CREATED.format(job.id)}")
            return _as_it_is(options, servers, job, "left")
        log(f"job {job.name} ({job.id}) is of version {job.version or 'not known'}, this is {version}: it is replaced")
        did = "replaced"
        if jobs.replaces:
            job = follow(jobs, job, lambda now: now.state is not JobState.STARTING, log)
            placed = replace_stream(options, servers, jobs, job, log)
            return _as_it_is(options, servers, placed, did)
        _end(jobs, job, prepared, log)
    found = run_stream(options, servers, log, show)
    if found["state"] != State.RUNNING.value:
        return found | {"did": did}
    return _as_it_is(options, servers, jobs.find(engine.name), did)


def _as_it_is(options: PipelineOptions, servers: str | None, job: Job | None, did: str) -> dict[str, Any]:
    state = State.RUNNING if job and not job.state.ended else State.FAILED
    return {"pipeline": "stream", "state": state.value, "did": did, **job_status(options, servers, job)}


def _end(jobs: Jobs, job: Job, prepared: PreparedStream, log: Callable[[str], None]) -> None:
    """Drain the job, and give back the leases that it has kept: they would lapse only half a minute later."""
    run = prepared.stream.destination.run
    leases = Leases(prepared.stream.destination.warehouse, run.operations_dataset)
    tokens = {holder.token for holder in leases.holders(prepared.lease_names)}
    jobs.drain(job)
    _ended(jobs, job, log)
    for token in tokens:
        leases.release(prepared.lease_names, token)


def _ended(jobs: Jobs, job: Job, log: Callable[[str], None]) -> Job:
    return follow(jobs, job, lambda now: now.state.ended, log)
