"""Differences between runners: whether a job outlives its launcher, and the defaults that a stream needs."""

from __future__ import annotations

from collections.abc import Container

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions, StandardOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES

__all__ = ["AT_LEAST_ONCE", "EXACTLY_ONCE", "ONE_PROCESS", "flink_cluster", "is_dataflow", "stream_defaults"]

EXACTLY_ONCE, AT_LEAST_ONCE = "streaming_mode_exactly_once", "streaming_mode_at_least_once"
"""Dataflow's modes of streaming."""
ONE_PROCESS = "no_use_multiple_sdk_containers"
"""One Python process on each worker. With one for each core a bucket's bundles may go to any of them, and each change
of the process takes the bucket again: the new owner reads the bucket's keys from the table."""
STREAM_DEFAULTS = (
    # Flink's default is never: it would keep nothing of the job when a task manager is lost.
    "--checkpointing_interval=5000",
    # Without it a checkpoint stores the output of its bundles and sends it on when the next bundle begins, which may
    # be never: records that were read would stay there. The output may also be too large for a checkpoint.
    "--finish_bundle_before_checkpointing",
    # How long the steps after the read may hold back their output.
    "--max_bundle_time_mills=500",
    "--max_bundle_size=20000",
)


def is_dataflow(options: PipelineOptions) -> bool:
    """Return whether the job runs on Dataflow."""
    return bool(options.view_as(StandardOptions).runner == "DataflowRunner")


def flink_cluster(options: PipelineOptions) -> str | None:
    """Return the address of the Flink cluster that the job is for.

    None for a job on another engine, and for one that ends with the launcher because Flink, or its workers
    (LOOPBACK), run in the launcher.
    """
    loopback = options.view_as(PortableOptions).environment_type == "LOOPBACK"
    if options.view_as(StandardOptions).runner != "FlinkRunner" or loopback:
        return None
    master = str(options.view_as(FlinkRunnerOptions).flink_master)
    return None if master in MAGIC_HOST_NAMES else master


def stream_defaults(runner: str | None, given: Container[str]) -> list[str]:
    """Return the arguments that a stream on `runner` adds for options, named without dashes, that are not `given`."""
    if runner != "FlinkRunner":
        return []
    return [default for default in STREAM_DEFAULTS if default.removeprefix("--").split("=", 1)[0] not in given]
