"""Beam's options of a job, made of the command line in one place."""

from __future__ import annotations

import os
from typing import Any

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, PortableOptions, SetupOptions

from pipelines.engines.naming import job_name_of, version_as_label, version_options
from pipelines.engines.runners import EXACTLY_ONCE, ONE_PROCESS, flink_cluster, is_dataflow
from pipelines.runs.beam_arguments import BeamArguments

__all__ = ["batch_options", "stream_options"]

OF_THE_LAUNCHER: dict[str, Any] = {"beam_services": {}, "kafka_config": None, "summary": None, "contracts": None}
"""Options that hold paths of the launcher's machine. Dataflow keeps a job's options and shows them on its page."""
NO_SINGLETON = "disable_prism_server_singleton"
"""Beam then starts a new Prism for each job. Else it keeps one that has failed, or has ended with its command."""


def batch_options(beam: BeamArguments) -> PipelineOptions:
    """Return the options of a batch's job."""
    options = beam.options()
    if not is_dataflow(options):
        return beam.changed(experiments=_with_experiments(options, NO_SINGLETON)).options()
    return beam.changed(**_dataflow(options), **version_options(options, None, version_as_label())).options()


def stream_options(beam: BeamArguments, version: str) -> PipelineOptions:
    """Return the options of a stream's job that carries `version`. What the user has set stays."""
    options = beam.options()
    # Beam computes the size of every cached state value, which costs more than the state does.
    changes: dict[str, Any] = {"streaming": True, "max_cache_memory_usage_mb": 0}
    if is_dataflow(options):
        # Engine and mode are Dataflow's defaults for such a job. They are set because exactly-once rests on them.
        changes |= {"enable_streaming_engine": True}
        changes |= {"experiments": _with_experiments(options, EXACTLY_ONCE, ONE_PROCESS)}
        changes |= {"job_name": job_name_of(options), **_dataflow(options)}
    else:
        changes["experiments"] = _with_experiments(options, NO_SINGLETON)
        if flink_cluster(options) is None:
            changes["environment_type"] = options.view_as(PortableOptions).environment_type or "LOOPBACK"
    return beam.changed(**changes, **version_options(options, job_name_of(options), version)).options()


def _dataflow(options: PipelineOptions) -> dict[str, Any]:
    changes: dict[str, Any] = {"save_main_session": False, **OF_THE_LAUNCHER}  # workers import every step by its module
    setup_file = options.view_as(SetupOptions).setup_file
    if setup_file and not os.path.dirname(setup_file):
        changes["setup_file"] = os.path.join(".", setup_file)  # Beam changes to the folder that the name has
    return changes


def _with_experiments(options: PipelineOptions, *wanted: str) -> list[str]:
    given = list(options.view_as(DebugOptions).experiments or [])
    return [*given, *(experiment for experiment in wanted if experiment not in given)]
