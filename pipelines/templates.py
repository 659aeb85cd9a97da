"""Job graphs for Dataflow, written to a file instead of being run.

A job that is started from such a template has no launcher, so all checks are made when the template is written.
"""

from __future__ import annotations

from collections.abc import Callable

from apache_beam.options.pipeline_options import GoogleCloudOptions

from contracts.errors import UsageError
from pipelines.batch.preflight import prepare_batch
from pipelines.engines.dataflow import submit
from pipelines.engines.job_options import batch_options
from pipelines.engines.pipeline import new_pipeline
from pipelines.runs.settings import BatchSettings, RunSettings, StreamSettings
from pipelines.stream.leased import graph_of, leased
from pipelines.stream.preflight import prepare_stream

__all__ = ["write_batch_template", "write_stream_template"]


def write_batch_template(settings: BatchSettings, log: Callable[[str], None]) -> str:
    """Write a batch's graph to --template_location, and the workers' packages to the staging location; return where.

    The input is pinned now, and the graph is that of one run: started again, it finds what is done already. Raises a
    ReportedError for what is refused.
    """
    prepared = prepare_batch(settings, log)
    batch = prepared.batch
    if prepared.finished:
        raise UsageError(f"--run_id: run {batch.run.run_id} is done already; give a new name")
    if not batch.inputs:
        raise UsageError("--only_new: every file is loaded already, so there is no run to write a template for")
    pipeline = new_pipeline(batch_options(settings.beam))
    batch.build(pipeline)
    submit(pipeline, log)
    return _log_written(settings, log, f"run {batch.run.run_id}, {len(batch.inputs)} files")


def write_stream_template(settings: StreamSettings, log: Callable[[str], None]) -> str:
    """Write a stream's graph, see `write_batch_template`. A new group's first offsets are committed now."""
    prepared = prepare_stream(settings, log)
    with (
        leased(prepared, log) as (stream, _),
        graph_of(stream, settings.beam, stream.run.token, outlives_launcher=True) as pipeline,
    ):
        submit(pipeline, log)
    return _log_written(settings, log, f"run {stream.run.run_id}")


def _log_written(settings: RunSettings, log: Callable[[str], None], content: str) -> str:
    where = str(settings.beam.options().view_as(GoogleCloudOptions).template_location)
    log(f"wrote {where} ({content}); gcloud dataflow jobs run starts a job from it")
    return where
