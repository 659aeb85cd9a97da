"""Jobs that outlive their launcher, by name, whatever engine has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from pipelines.options import DEFAULT_GROUP, StreamOptions
from pipelines.runners import flink_cluster
from transforms.run import PIPELINE_VERSION

__all__ = ["VERSION_LABEL", "Job", "JobState", "Jobs", "job_name_of", "jobs_of", "version_as_label"]

VERSION_LABEL = "pipeline_version"
"""The label of a job whose value is the version of the code that submitted it."""


class JobState(StrEnum):
    """What a person wants to know of a job; the engine's own word for it is in `Job.detail`."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    """It drains or is being cancelled: it still holds what it holds."""
    DONE = "done"
    """It has ended because it was told to, or because there was nothing left."""
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether it stays so."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its engine showed it last."""

    id: str
    name: str
    state: JobState
    detail: str
    """The engine's own word for the state, and its reason where it gives one."""
    version: str | None
    """Its label `pipeline_version`, None where it carries none."""
    url: str | None
    """A page that shows the job, None where the engine has none."""


class Jobs(Protocol):
    """An engine's jobs. Each method raises Misuse, in one line, where the engine is away or refuses."""

    replaces: bool
    """Whether a job that is submitted with Beam's --update takes the place of the one of its name."""

    def find(self, name: str) -> Job | None:
        """The live job of that name, else the one of that name that ended last, None where there was none."""

    def refresh(self, job: Job) -> Job:
        """The same job as it is now."""

    def drain(self, job: Job) -> None:
        """Ask that it reads no more, writes what it has read, and ends. It may return before the job has ended."""

    def cancel(self, job: Job) -> None:
        """Ask that it ends at once. It may return before the job has ended."""


def job_name_of(options: PipelineOptions) -> str:
    """The name that a stream's job has: --job_name, else one made of its group, by the rules of Dataflow's names."""
    given = options.view_as(GoogleCloudOptions).job_name
    if given:
        return str(given)
    group = options.view_as(StreamOptions).group_id or DEFAULT_GROUP
    return "stream-" + re.sub(r"[^a-z0-9]+", "-", group.lower()).strip("-")


def version_as_label() -> str:
    """The version of this code as a label may have it: no dots."""
    return re.sub(r"[^a-z0-9_-]", "-", PIPELINE_VERSION.lower())


def jobs_of(options: PipelineOptions) -> Jobs | None:
    """The jobs of the engine that the options name, None where a job ends with its launcher. Misuse where it is not
    said where they are."""
    if options.view_as(StandardOptions).runner == "DataflowRunner":
        from pipelines.dataflow_jobs import DataflowJobs  # Google's client takes half a second to import

        return DataflowJobs.of(options)
    master = flink_cluster(options)
    if master is None:
        return None
    from pipelines.flink_jobs import FlinkJobs

    return FlinkJobs(master)
