"""What runners differ in: whether a job outlives its launcher, and what a stream needs unless it is told otherwise."""

from __future__ import annotations

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions, StandardOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES
from apache_beam.runners.worker.bundle_processor import DataInputOperation

__all__ = ["flink_cluster", "keep_bundles_whole", "stream_defaults"]

STREAM_DEFAULTS = (
    # The default is never: then nothing of the job is kept when a task manager is lost.
    "--checkpointing_interval=5000",
    # Without it a checkpoint holds what its bundles have made, and sends it on when the next bundle begins, which may
    # be never: records that were read stay behind. What it holds may also be too large for a checkpoint.
    "--finish_bundle_before_checkpointing",
    # How long the steps after the read may hold back what they have.
    "--max_bundle_time_mills=500",
    "--max_bundle_size=20000",
)


def flink_cluster(options: PipelineOptions) -> str | None:
    """The address of the Flink cluster that the job is for and stays on; None where it is for another engine, or ends
    with the launcher, since Flink or the workers (LOOPBACK) are a part of it."""
    loopback = options.view_as(PortableOptions).environment_type == "LOOPBACK"
    if options.view_as(StandardOptions).runner != "FlinkRunner" or loopback:
        return None
    master = str(options.view_as(FlinkRunnerOptions).flink_master)
    return None if master in MAGIC_HOST_NAMES else master


def keep_bundles_whole() -> None:
    """From now on no bundle of this process's Python steps is split.

    Prism splits a slow bundle of a step with state like any other, also between two elements of one key, and then
    processes both halves at the same time: of what they write into the key's state the half that ends first is lost
    (splitBundle in Prism's elementmanager.go takes the key out of those in progress; compare apache/beam#35771). Its
    option `prism_disable_sdf_split` is no way out: Kafka's reader, in Java, ends its bundles by being split.
    """
    DataInputOperation.try_split = _no_split  # type: ignore[assignment, method-assign]


def _no_split(operation: DataInputOperation, *_: object) -> None:
    return None


def stream_defaults(runner: str | None, argv: list[str]) -> list[str]:
    """The arguments to add to a stream's `argv`."""
    if runner != "FlinkRunner":
        return []
    given = {argument.split("=", 1)[0] for argument in argv}
    return [default for default in STREAM_DEFAULTS if default.split("=", 1)[0] not in given]
