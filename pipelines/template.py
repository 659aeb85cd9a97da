"""A job's graph for Dataflow, written down in place of being run; and a stream's put in the place of the one that runs.

A job that is started from a template has no launcher: all that is looked at before a start is looked at when the
template is written.
"""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from contracts.errors import Misuse
from pipelines.dataflow import dataflow_options, submit
from pipelines.options import OperationsOptions, StreamOptions
from pipelines.preflight import prepare
from pipelines.stream_preflight import prepare_stream
from pipelines.stream_run import graph_of, leased, streaming_options

__all__ = ["write_batch_template", "write_stream_template"]


def write_batch_template(options: PipelineOptions, log: Callable[[str], None]) -> str:
    """Write a batch's graph to --template_location, and what its workers need to the staging location; where it is.

    The files are pinned now, and the graph is of one run: started again it finds what is done. Misuse for what is
    refused.
    """
    google = options.view_as(GoogleCloudOptions)
    dataflow_options(options)
    prepared = prepare(options.view_as(OperationsOptions), google.project, log)
    batch = prepared.batch
    if prepared.finished:
        raise Misuse(f"--run_id: run {batch.run.run_id} is done already; give a new name")
    if not batch.inputs:
        raise Misuse("--only_new: every file is loaded already, so there is no run to write down")
    pipeline = beam.Pipeline(options=options)
    batch.build(pipeline, prepared.target)
    submit(pipeline, log)
    return _written(google, log, f"run {batch.run.run_id}, {len(batch.inputs)} files")


def write_stream_template(options: PipelineOptions, servers: str | None, log: Callable[[str], None]) -> str:
    """The same for a stream. A group's first offsets are committed now. Misuse for what is refused."""
    streaming_options(options)
    prepared = prepare_stream(options, servers, log).outliving()
    with leased(prepared, options.view_as(StreamOptions), log) as (prepared, _):
        run = prepared.stream.destination.run
        with graph_of(prepared, options, run.token) as pipeline:
            submit(pipeline, log)
    return _written(options.view_as(GoogleCloudOptions), log, f"run {run.run_id}")


def _written(google: GoogleCloudOptions, log: Callable[[str], None], what: str) -> str:
    where = str(google.template_location)
    log(f"wrote {where} ({what}); gcloud dataflow jobs run starts a job from it")
    return where
