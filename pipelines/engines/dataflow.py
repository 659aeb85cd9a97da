"""Dataflow: which options are refused before a start, and how a job is submitted."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import PipelineResult
from google.api_core.exceptions import GoogleAPICallError

from connectors.files.storage import Storage, split_uri
from connectors.google.errors import meaning_of
from contracts.errors import Conflict, Unavailable, UsageError
from pipelines.engines.runners import AT_LEAST_ONCE, EXACTLY_ONCE, is_dataflow
from pipelines.runs.required import check_required

__all__ = ["CONSOLE", "CREATED", "check_dataflow", "submit", "why_refused"]

PLACES = ("temp_location", "staging_location", "template_location")
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Dataflow accepts longer names, but a worker's host name has at most 63 characters."""
SUBMITS = "apache_beam.runners.dataflow.internal.apiclient"
CREATED = "Created job with id: [{}]"
"""The text by which Airflow's operator finds the id of a job in the log."""
CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"


def check_dataflow(options: PipelineOptions) -> None:
    """Check the options of a job for Dataflow, or that a job for another engine has none that only Dataflow knows.

    Raises UsageError for a missing option, for one that Dataflow ignores, and for one that would make a stream unsafe
    (`options` must say --streaming then).
    """
    google, setup = options.view_as(GoogleCloudOptions), options.view_as(SetupOptions)
    if not is_dataflow(options):
        if google.template_location:
            raise UsageError("--template_location is an option of DataflowRunner")
        return
    check_required({"--region": google.region, "--temp_location": google.temp_location}, ": DataflowRunner needs it")
    if not (setup.setup_file or options.view_as(WorkerOptions).sdk_container_image):
        raise UsageError(
            "Dataflow's workers need this code: --setup_file ./setup.py, or an --sdk_container_image with it"
        )
    if setup.setup_file and not Path(setup.setup_file).is_file():
        raise UsageError(f"--setup_file: there is no file {setup.setup_file}")
    if options.view_as(PortableOptions).environment_type:
        raise UsageError("--environment_type: Dataflow ignores it and always runs containers; leave it out")
    if google.job_name and not JOB_NAME.fullmatch(google.job_name):
        raise UsageError(f"--job_name takes a to z, 0 to 9 and -, at most 63, a letter first: not {google.job_name}")
    _check_numbers(options.view_as(WorkerOptions))
    _check_mode(options)
    storage = Storage(google.project)
    for name in PLACES:
        place = getattr(google, name)
        if place and not (place.startswith("gs://") and split_uri(place)[1]):
            raise UsageError(f"--{name} must be gs://BUCKET/NAME, not {place}")
        if place and not storage.bucket_exists(place):
            raise UsageError(f"--{name}: there is no bucket {split_uri(place)[0]}")


def _check_numbers(workers: WorkerOptions) -> None:
    for name in ("num_workers", "max_num_workers"):
        value = getattr(workers, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1")
    if (workers.num_workers or 0) > (workers.max_num_workers or workers.num_workers or 0):
        raise UsageError("--num_workers must not be above --max_num_workers")


def _check_mode(options: PipelineOptions) -> None:
    google = options.view_as(GoogleCloudOptions)
    given = [*(options.view_as(DebugOptions).experiments or []), *(google.dataflow_service_options or [])]
    if options.view_as(StandardOptions).streaming and AT_LEAST_ONCE in ",".join(given).split(","):
        raise UsageError(f"{AT_LEAST_ONCE}: the stream's steps keep state, which needs {EXACTLY_ONCE}, the default")
    endpoint = google.dataflow_endpoint or ""
    if endpoint.startswith("http://") and "localhost" not in endpoint:
        raise UsageError(
            "--dataflow_endpoint: without TLS it must be http://localhost:PORT, which Beam treats as a test server"
        )


def submit(pipeline: beam.Pipeline, log: Callable[[str], None]) -> PipelineResult:
    """Start the job on its runner, or write its graph to --template_location; return Beam's handle of it.

    Logs the id that Dataflow has given to the job, as CREATED. Raises a ReportedError if Dataflow refuses the job.
    """
    options = pipeline.options
    if not is_dataflow(options):
        return pipeline.run()
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError  # half a second

    google = options.view_as(GoogleCloudOptions)
    logging.getLogger(SUBMITS).disabled = True  # it logs a trace of what is reported here in one line
    try:
        result: Any = pipeline.run()
    except DataflowJobAlreadyExistsError:
        raise Conflict(_taken(google.job_name)) from None
    except GoogleAPICallError as error:
        if error.code == 409:
            raise Conflict(_taken(google.job_name)) from None
        kind = meaning_of(error)
        problem = "does not answer for" if kind is Unavailable else "refuses"
        raise kind(f"Dataflow {problem} the job {why_refused(error)}") from None
    finally:
        logging.getLogger(SUBMITS).disabled = False
    if result.has_job:  # a template has none
        log(CREATED.format(result.job_id()))
        if google.dataflow_endpoint == GoogleCloudOptions.DATAFLOW_ENDPOINT:
            log(CONSOLE.format(region=google.region, job=result.job_id(), project=google.project))
    return cast(PipelineResult, result)


def why_refused(error: GoogleAPICallError) -> str:
    """Return the code and the reason of an error in one line, without the request that Google's REST clients prefix."""
    return f"({error.code}): " + re.sub(r"^[A-Z]+ https?://\S+: ", "", " ".join(str(error.message).split()))


def _taken(name: str) -> str:
    return f"Dataflow has a live job {name} already; launcher.py stream drain ends a stream's, --job_name names another"
