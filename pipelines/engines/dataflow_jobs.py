"""Jobs on Dataflow, by google-cloud-dataflow-client.

Beam's own client is not used: its search for a job by name never ends if there is none (`job_id_for_name` waits for
a page token that is None, and the last one is empty), it reads every job of the region, and it is internal to Beam.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataflow_v1beta3 as dataflow
from google.cloud.dataflow_v1beta3 import JobState as State
from requests.exceptions import ConnectionError as NoConnection

from connectors.google.errors import meaning_of
from contracts.errors import Unavailable
from pipelines.engines.dataflow import CONSOLE, why_refused
from pipelines.engines.job import Job, JobState
from pipelines.engines.naming import VERSION_LABEL
from pipelines.runs.required import check_required

__all__ = ["DataflowJobs"]

STATES = {
    State.JOB_STATE_UNKNOWN: JobState.STARTING,
    State.JOB_STATE_STOPPED: JobState.STARTING,  # "has not yet started to run"
    State.JOB_STATE_PENDING: JobState.STARTING,
    State.JOB_STATE_QUEUED: JobState.STARTING,
    State.JOB_STATE_RUNNING: JobState.RUNNING,
    State.JOB_STATE_PAUSING: JobState.RUNNING,
    State.JOB_STATE_PAUSED: JobState.RUNNING,
    State.JOB_STATE_DRAINING: JobState.STOPPING,
    State.JOB_STATE_CANCELLING: JobState.STOPPING,
    State.JOB_STATE_RESOURCE_CLEANING_UP: JobState.STOPPING,
    State.JOB_STATE_DONE: JobState.DONE,
    State.JOB_STATE_DRAINED: JobState.DONE,
    State.JOB_STATE_CANCELLED: JobState.DONE,
    State.JOB_STATE_UPDATED: JobState.DONE,
    State.JOB_STATE_FAILED: JobState.FAILED,
}
RETRYABLE = if_exception_type(
    exceptions.TooManyRequests,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.ServiceUnavailable,
    exceptions.GatewayTimeout,
    NoConnection,
)
PATIENCE_SECONDS = 10.0
"""How long a request is retried that Dataflow cannot answer for the moment."""


class DataflowJobs:
    """The jobs of one project and region, at --dataflow_endpoint."""

    replaces = True
    tells_why = True  # Beam knows none of a job that it has not waited for

    def __init__(self, project: str, region: str, endpoint: str) -> None:
        self._project, self._region = project, region
        plain = endpoint.startswith("http://")  # a test's; gRPC, which Google's endpoint has, needs TLS
        anonymous = plain and os.environ.get("STORAGE_EMULATOR_HOST")
        settings: dict[str, Any] = {
            "client_options": ClientOptions(
                api_endpoint=endpoint.rstrip("/") if plain else re.sub("^https://|/$", "", endpoint)
            ),
            "transport": "rest" if plain else None,
            "credentials": AnonymousCredentials() if anonymous else None,
        }
        self._jobs = dataflow.JobsV1Beta3Client(**settings)
        self._messages = dataflow.MessagesV1Beta3Client(**settings)

    @classmethod
    def of(cls, options: PipelineOptions) -> DataflowJobs:
        """Return the jobs of the place that the options name. Raises UsageError if they name none."""
        google = options.view_as(GoogleCloudOptions)
        check_required({"--project": google.project, "--region": google.region}, ": they say where the job is")
        return cls(str(google.project), str(google.region), google.dataflow_endpoint.strip())

    def find(self, name: str) -> Job | None:
        """Return the live job of this name, else the one that ended last, None if there was none."""
        request = dataflow.ListJobsRequest(
            project_id=self._project, location=self._region, name=name, filter=dataflow.ListJobsRequest.Filter.ALL
        )
        with _refusals():
            named = [job for job in self._jobs.list_jobs(request, retry=_retry()) if job.name == name]
        live = [job for job in named if not _state(job).ended]
        newest = max(live or named, key=lambda job: job.create_time.timestamp(), default=None)
        return None if newest is None else self._get(newest.id)  # a list tells no labels

    def refresh(self, job: Job) -> Job:
        """Return the present state of a job."""
        return self._get(job.id)

    def drain(self, job: Job) -> None:
        """Request that the job stops reading, writes what it has read, and ends."""
        self._request(job, State.JOB_STATE_DRAINING)

    def cancel(self, job: Job) -> None:
        """Request that the job ends at once."""
        self._request(job, State.JOB_STATE_CANCELLED)

    def _get(self, job_id: str) -> Job:
        request = dataflow.GetJobRequest(project_id=self._project, location=self._region, job_id=job_id)
        with _refusals():
            job = self._jobs.get_job(request, retry=_retry())
        state = _state(job)
        detail = job.current_state.name + (self._why(job_id) if state is JobState.FAILED else "")
        url = CONSOLE.format(region=self._region, job=job_id, project=self._project)
        return Job(job_id, job.name, state, detail, job.labels.get(VERSION_LABEL), url)

    def _why(self, job_id: str) -> str:
        """Return the last line of the job's last error message."""
        request = dataflow.ListJobMessagesRequest(
            project_id=self._project,
            location=self._region,
            job_id=job_id,
            minimum_importance=dataflow.JobMessageImportance.JOB_MESSAGE_ERROR,
        )
        with _refusals():
            messages = [message.message_text for message in self._messages.list_job_messages(request, retry=_retry())]
        lines = [line.strip() for text in messages[-1:] for line in text.splitlines() if line.strip()]
        return f": {lines[-1][:500]}" if lines else ""

    def _request(self, job: Job, state: State) -> None:
        request = dataflow.UpdateJobRequest(
            project_id=self._project, location=self._region, job_id=job.id, job=dataflow.Job(requested_state=state)
        )
        with _refusals():
            self._jobs.update_job(request, retry=_retry())


def _state(job: dataflow.Job) -> JobState:
    return STATES[job.current_state]


def _retry() -> Retry:
    return Retry(predicate=RETRYABLE, initial=0.5, timeout=PATIENCE_SECONDS)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise Dataflow's errors as errors of one line."""
    try:
        yield
    except exceptions.RetryError as error:
        raise Unavailable(f"Dataflow does not answer: {' '.join(str(error.cause).split())}") from None
    except exceptions.GoogleAPICallError as error:
        kind = meaning_of(error)
        problem = "does not answer" if kind is Unavailable else "refuses"
        raise kind(f"Dataflow {problem} {why_refused(error)}") from None
