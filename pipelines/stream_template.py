"""A stream's job graph for Dataflow, written down in place of being run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import apache_beam as beam
from apache_beam.options.pipeline_options import CrossLanguageOptions, GoogleCloudOptions, PipelineOptions
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from connectors.leases import Heartbeat, Leases
from pipelines.batch_run import refuse_unless_free
from pipelines.dataflow import forget_launcher
from pipelines.options import StreamOptions
from pipelines.stream_preflight import prepare_stream, resolve_starts, with_buckets
from pipelines.stream_run import streaming_options

__all__ = ["write_template"]


def write_template(options: PipelineOptions, servers: str | None, log: Callable[[str], None]) -> str:
    """Write the graph to --template_location, and to the staging location what its workers need; where it is.

    All that is looked at before a stream starts is looked at now, and a group's first offsets are committed now: a job
    that is started from the template has no launcher. Misuse for what is refused.
    """
    streams, google = options.view_as(StreamOptions), options.view_as(GoogleCloudOptions)
    streaming_options(options)
    prepared = prepare_stream(options, servers, log)
    run, warehouse = prepared.stream.destination.run, prepared.stream.destination.warehouse
    leases = Leases(warehouse, run.operations_dataset)
    refuse_unless_free(leases, prepared.lease_names, run, log)
    with Heartbeat(leases, prepared.lease_names, run.token):
        prepared = with_buckets(prepared, streams.buckets)
        resolve_starts(prepared, streams.start_from, log)
        services = options.view_as(CrossLanguageOptions).beam_services
        with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
            pipeline = beam.Pipeline(options=options)
            replace(prepared.stream, attempt=run.token).build(pipeline)
            forget_launcher(pipeline.options)  # which are its own copy
            pipeline.run()
    return str(google.template_location)
