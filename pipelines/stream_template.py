"""A stream's job graph for Dataflow, written down in place of being run."""

from __future__ import annotations

from collections.abc import Callable

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.dataflow import forget_launcher
from pipelines.options import StreamOptions
from pipelines.stream_preflight import prepare_stream
from pipelines.stream_run import graph_of, leased, streaming_options

__all__ = ["write_template"]


def write_template(options: PipelineOptions, servers: str | None, log: Callable[[str], None]) -> str:
    """Write the graph to --template_location, and to the staging location what its workers need; where it is.

    All that is looked at before a stream starts is looked at now, and a group's first offsets are committed now: a job
    that is started from the template has no launcher. Misuse for what is refused.
    """
    streams, google = options.view_as(StreamOptions), options.view_as(GoogleCloudOptions)
    streaming_options(options)
    prepared = prepare_stream(options, servers, log).outliving()
    with leased(prepared, streams, log) as (prepared, _):
        attempt = prepared.stream.destination.run.token
        with graph_of(prepared, options, attempt) as pipeline:
            forget_launcher(pipeline.options)  # which are its own copy
            pipeline.run()
    return str(google.template_location)
