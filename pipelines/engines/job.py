"""Jobs that outlive their launcher, found by name on any engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Job", "JobState", "Jobs", "follow"]

POLL_SECONDS = 2.0
LOG_SECONDS = 30.0


class JobState(StrEnum):
    """The state of a job; `Job.detail` has the engine's own word for it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    """It is draining or being cancelled, and still holds its leases."""
    DONE = "done"
    """It has ended on request, or because there was nothing left to do."""
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its engine last reported it."""

    id: str
    name: str
    state: JobState
    detail: str
    """The engine's own word for the state, and its reason if it gives one."""
    version: str | None
    """The version that it carries, see `stream_version`; None if it carries none."""
    url: str | None
    """The engine's page of the job, None if it has none."""


class Jobs(Protocol):
    """An engine's jobs. Methods raise Unavailable if it does not answer, another ReportedError if it refuses."""

    replaces: bool
    """Whether a job that is submitted with Beam's --update replaces the job of its name."""

    tells_why: bool
    """Whether `Job.detail` of a failed job has a better reason than Beam's exception."""

    def find(self, name: str) -> Job | None:
        """Return the live job of this name, else the one that ended last, None if there was none."""

    def refresh(self, job: Job) -> Job:
        """Return the present state of a job."""

    def drain(self, job: Job) -> None:
        """Request that the job stops reading, writes what it has read, and ends. May return before it has ended."""

    def cancel(self, job: Job) -> None:
        """Request that the job ends at once. May return before it has ended."""


def follow(jobs: Jobs, job: Job, done: Callable[[Job], bool], log: Callable[[str], None]) -> Job:
    """Poll the job until `done(job)`; log each change, and from time to time that there is none. Return the job."""
    began = logged = time.monotonic()
    detail = job.detail
    while not done(job):
        time.sleep(POLL_SECONDS)
        job = jobs.refresh(job)
        now = time.monotonic()
        if job.detail != detail or now - logged > LOG_SECONDS:
            detail, logged = job.detail, now
            log(f"{now - began:.0f} s: job {job.name} ({job.id}) is {job.state} ({job.detail})")
    return job
