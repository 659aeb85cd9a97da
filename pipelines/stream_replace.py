"""A running stream's job, replaced by one of this version of the code, where the engine can do that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from connectors.leases import Leases
from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from pipelines.dataflow import submit
from pipelines.jobs import Job, Jobs, JobState, follow
from pipelines.options import DEFAULT_GROUP, OperationsOptions, StreamOptions
from pipelines.preflight import refuse_held
from pipelines.stream_preflight import PreparedStream, prepare_stream, resolve_starts, with_buckets
from pipelines.stream_run import graph_of, streaming_options

__all__ = ["replace_stream"]


def replace_stream(
    options: PipelineOptions, servers: str | None, jobs: Jobs, job: Job, log: Callable[[str], None]
) -> Job:
    """Submit the stream under the name of `job`, to take its place, and wait until it runs; the new job, which may have
    ended in place of that.

    It goes on under the run and the leases of the old one, which works on until the engine has put the new one in its
    place. Misuse for what is refused: nothing is replaced then.
    """
    if job.state is not JobState.RUNNING:
        raise Misuse(f"job {job.name} is {job.state} ({job.detail}); a job is replaced while it is running")
    streams, google = options.view_as(StreamOptions), options.view_as(GoogleCloudOptions)
    if streams.buckets is not None:
        raise Misuse("--buckets: another number needs a drained stream; drain it, and start it with the new one")
    google.update, google.job_name = True, job.name
    streaming_options(options)
    ours = options.view_as(OperationsOptions)
    leases = Leases(Warehouse(str(google.project), ours.location or "US"), ours.operations_dataset)
    holder = next(iter(leases.holders([f"group:{streams.group_id or DEFAULT_GROUP}"])), None)
    if holder:
        ours.run_id = ours.run_id or holder.run_id
    prepared = _holding(prepare_stream(options, servers, log).outliving(), leases, holder.token if holder else None)
    prepared = with_buckets(prepared, None)
    resolve_starts(prepared, streams.start_from, log)
    with graph_of(prepared, options, prepared.stream.destination.run.token) as pipeline:
        submitted: Any = submit(pipeline, log)
        new = Job(str(submitted.job_id()), job.name, JobState.STARTING, "submitted", None, None)
        new = follow(jobs, new, lambda now: now.state.ended or now.state is JobState.RUNNING, log)
    if new.state is JobState.RUNNING:
        log(f"job {new.id} has taken the place of {job.id}")
    else:
        log(f"job {new.id} did not take the place of {job.id}, which is {jobs.refresh(job).detail}")
    return new


def _holding(prepared: PreparedStream, leases: Leases, token: str | None) -> PreparedStream:
    """The stream by the very token that holds its leases: whichever of the two jobs runs in the end keeps them alive.
    Misuse where another run holds one."""
    to = prepared.stream.destination
    run = replace(to.run, token=token or to.run.token)
    for name in prepared.lease_names:
        if holder := leases.take(name, run.run_id, run.token):
            raise refuse_held(name, holder)
    return replace(prepared, stream=replace(prepared.stream, destination=replace(to, run=run)))
