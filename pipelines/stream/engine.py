"""The engine of a stream whose job outlives its launcher."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.options.pipeline_options import StandardOptions

from contracts.errors import Conflict
from pipelines.engines.job import Jobs
from pipelines.engines.naming import job_name_of
from pipelines.engines.registry import jobs_of
from pipelines.runs.beam_arguments import BeamArguments

__all__ = ["Engine"]


@dataclass(frozen=True)
class Engine:
    """Where the job runs and under which name."""

    jobs: Jobs
    name: str
    leave_at_once: bool
    """Whether the launcher exits as soon as the job runs, and not only on a signal to stop."""

    @classmethod
    def of(cls, arguments: BeamArguments) -> Engine | None:
        """Return the engine that the arguments name, None if its jobs end with their launcher."""
        options = arguments.options()
        jobs = jobs_of(options)
        if jobs is None:
            return None
        return cls(jobs, job_name_of(options), bool(options.view_as(StandardOptions).no_wait_until_finish))

    def reason(self, beams_reason: str) -> str:
        """Return why the job has failed, which the engine may know better than Beam."""
        job = self.jobs.find(self.name) if self.jobs.tells_why else None
        return job.detail if job else beams_reason

    def refuse_unless_new(self) -> None:
        """Raise Conflict if a job of this name runs."""
        job = self.jobs.find(self.name)
        if job and not job.state.ended:
            raise Conflict(
                f"job {self.name} is {job.state} already ({job.id}); launcher.py stream drain ends it,"
                " --ensure_running keeps or replaces it, --job_name gives another name"
            )
