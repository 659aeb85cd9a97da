"""A running stream's job, replaced by one of this version of the code, on engines that can do it (Dataflow)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors.bookkeeping.leases import Leases
from contracts.errors import UsageError
from pipelines.engines.dataflow import submit
from pipelines.engines.job import Job, Jobs, JobState, follow
from pipelines.runs.leasing import conflict_with
from pipelines.runs.settings import StreamSettings
from pipelines.stream.leased import LeasedStream, graph_of
from pipelines.stream.preflight import PreparedStream, prepare_stream
from pipelines.stream.starts import commit_first_offsets, number_of_buckets
from transforms.run import Run

__all__ = ["replace_prepared_stream", "replace_stream"]


def replace_stream(settings: StreamSettings, jobs: Jobs, job: Job, log: Callable[[str], None]) -> Job:
    """Check the settings and replace `job`, see `replace_prepared_stream`."""
    _refuse_unless_replaceable(settings, job)
    return replace_prepared_stream(prepare_stream(settings, log), jobs, job, log)


def replace_prepared_stream(prepared: PreparedStream, jobs: Jobs, job: Job, log: Callable[[str], None]) -> Job:
    """Submit the stream instead of `job`, under its name, and wait until the new job runs or has ended; return it.

    It continues the run and the leases of the old job, which works on until the engine has replaced it. Raises a
    ReportedError for what is refused; nothing is replaced then.
    """
    _refuse_unless_replaceable(prepared.settings, job)
    run = _take_over(prepared)
    stream = LeasedStream(prepared=prepared, run=run, buckets=number_of_buckets(prepared, run, None))
    commit_first_offsets(prepared, run, log)
    arguments = prepared.settings.beam.changed(update=True, job_name=job.name)
    with graph_of(stream, arguments, run.token, outlives_launcher=True) as pipeline:
        result: Any = submit(pipeline, log)
        new = Job(str(result.job_id()), job.name, JobState.STARTING, "submitted", None, None)
        new = follow(jobs, new, lambda now: now.state.ended or now.state is JobState.RUNNING, log)
    if new.state is JobState.RUNNING:
        log(f"job {new.id} has replaced {job.id}")
    else:
        log(f"job {new.id} has not replaced {job.id}, which is {jobs.refresh(job).detail}")
    return new


def _refuse_unless_replaceable(settings: StreamSettings, job: Job) -> None:
    if job.state is not JobState.RUNNING:
        raise UsageError(f"job {job.name} is {job.state} ({job.detail}); only a running job can be replaced")
    if settings.buckets is not None:
        raise UsageError("--buckets: another number needs a drained stream; drain it, and start it with the new one")


def _take_over(prepared: PreparedStream) -> Run:
    """Return a run that uses the id and the token that hold the stream's leases, and take those that are free.

    The same token keeps the leases alive whichever of the two jobs runs in the end. Raises Conflict if another run
    holds one.
    """
    leases = Leases(prepared.warehouse, prepared.settings.operations_dataset)
    holder = next(iter(leases.holders([f"group:{prepared.settings.group}"])), None)
    run = prepared.new_run(holder.run_id, holder.token) if holder else prepared.new_run()
    if other := leases.take(prepared.lease_names, run.run_id, run.token):
        raise conflict_with(other)
    return run
