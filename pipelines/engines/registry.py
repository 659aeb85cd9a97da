"""The jobs of the engine that the options name."""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.engines.job import Jobs
from pipelines.engines.runners import flink_cluster, is_dataflow

__all__ = ["jobs_of"]


def jobs_of(options: PipelineOptions) -> Jobs | None:
    """Return the jobs of the engine that the options name, None if a job ends with its launcher.

    Raises UsageError if the options do not say where the jobs are.
    """
    if is_dataflow(options):
        from pipelines.engines.dataflow_jobs import DataflowJobs  # Google's client takes half a second to import

        return DataflowJobs.of(options)
    master = flink_cluster(options)
    if master is None:
        return None
    from pipelines.engines.flink_jobs import FlinkJobs

    return FlinkJobs(master)
