"""Jobs that outlive their launcher, by name, whatever engine has them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from contracts.table import Table
from pipelines.options import DEFAULT_GROUP, StreamOptions
from pipelines.runners import flink_cluster
from transforms.run import PIPELINE_VERSION

__all__ = [
    "VERSION_LABEL",
    "Job",
    "JobState",
    "Jobs",
    "carry_version",
    "follow",
    "job_name_of",
    "jobs_of",
    "stream_version",
    "version_as_label",
]

VERSION_LABEL = "pipeline_version"
"""The label of a job whose value is its version."""
POLL_SECONDS = 2.0
TELL_SECONDS = 30.0


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
    """What it was submitted as, see `stream_version`; None where it does not carry it."""
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


def stream_version(tables: Mapping[str, Table]) -> str:
    """The version of a stream by these contracts: the code's, and a digest of the contracts. Two jobs of one version do
    the same with a record."""
    digest = hashlib.blake2b(repr(sorted(tables.items())).encode(), digest_size=4).hexdigest()
    return f"{version_as_label()}-{digest}"


def carry_version(options: PipelineOptions, version: str) -> None:
    """Let the job that is submitted with these options show its version, unless the caller has labelled it himself: by
    a label on Dataflow; behind its name on a Flink cluster, whose jobs have no labels."""
    google = options.view_as(GoogleCloudOptions)
    if options.view_as(StandardOptions).runner == "DataflowRunner":
        labels = list(google.labels or [])
        if not any(VERSION_LABEL in label for label in labels):
            google.labels = [*labels, f"{VERSION_LABEL}={version}"]
    elif flink_cluster(options):
        google.job_name = f"{google.job_name}@{version}"


def follow(jobs: Jobs, job: Job, done: Callable[[Job], bool], log: Callable[[str], None]) -> Job:
    """Look at the job until that is so, telling what changes, and now and then that nothing does; the job as it is."""
    began = told = time.monotonic()
    detail = job.detail
    while not done(job):
        time.sleep(POLL_SECONDS)
        job = jobs.refresh(job)
        now = time.monotonic()
        if job.detail != detail or now - told > TELL_SECONDS:
            detail, told = job.detail, now
            log(f"{now - began:.0f} s: job {job.name} ({job.id}) is {job.state} ({job.detail})")
    return job


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
