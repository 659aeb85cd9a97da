"""A Beam pipeline for a job, with what this process must change in Beam first."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineRunner

from connectors.upstream.beam import keep_bundles_whole, keep_workers_local, skip_credentials_for_emulators
from pipelines.engines.runners import is_dataflow

__all__ = ["new_pipeline"]


def new_pipeline(options: PipelineOptions, runner: PipelineRunner | None = None) -> beam.Pipeline:
    """Return an empty pipeline on `runner`, or else on the runner that `options` name. It may change `options`."""
    if is_dataflow(options):
        skip_credentials_for_emulators()
    else:
        keep_workers_local()
        if options.view_as(StandardOptions).streaming:
            keep_bundles_whole()
    return beam.Pipeline(runner=runner, options=options)
