"""What a job needs of Dataflow, and what is refused there because it cannot end well."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import apache_beam as beam
from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import (
    CrossLanguageOptions,
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

from connectors.storage import Storage, split_uri
from contracts.errors import Misuse
from pipelines.jobs import carry_version, job_name_of, version_as_label
from pipelines.options import OperationsOptions, StreamOptions

__all__ = ["CREATED", "check_dataflow", "dataflow_options", "is_dataflow", "submit", "why_refused"]

EXACTLY_ONCE, AT_LEAST_ONCE = "streaming_mode_exactly_once", "streaming_mode_at_least_once"
PLACES = ("temp_location", "staging_location", "template_location")
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Dataflow takes longer ones, but a worker's host name has 63 characters."""
SUBMITS = "apache_beam.runners.dataflow.internal.apiclient"
CREATED = "Created job with id: [{}]"
"""The words by which Airflow's operator finds a job's id."""
CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether the job is Dataflow's."""
    return bool(options.view_as(StandardOptions).runner == "DataflowRunner")


def check_dataflow(options: PipelineOptions) -> None:
    """Misuse where Dataflow lacks something, or would be told what makes a stream unsafe; also for another runner that
    is given what is Dataflow's.
    """
    google, setup = options.view_as(GoogleCloudOptions), options.view_as(SetupOptions)
    if not is_dataflow(options):
        if google.template_location:
            raise Misuse("--template_location is an option of DataflowRunner")
        return
    required = {"--region": google.region, "--temp_location": google.temp_location}
    if missing := [name for name, value in required.items() if not value]:
        raise Misuse(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: DataflowRunner needs it")
    if not (setup.setup_file or options.view_as(WorkerOptions).sdk_container_image):
        raise Misuse("Dataflow's workers need this code: --setup_file ./setup.py, or an --sdk_container_image with it")
    if setup.setup_file and not Path(setup.setup_file).is_file():
        raise Misuse(f"--setup_file: there is no file {setup.setup_file}")
    if options.view_as(PortableOptions).environment_type:
        raise Misuse("--environment_type: Dataflow's workers are containers, whatever it says; leave it out")
    if google.job_name and not JOB_NAME.fullmatch(google.job_name):
        raise Misuse(f"--job_name takes a to z, 0 to 9 and -, at most 63, a letter first: not {google.job_name}")
    _check_numbers(options.view_as(WorkerOptions))
    _check_mode(options)
    storage = Storage(google.project)
    for name in PLACES:
        place = getattr(google, name)
        if place and not (place.startswith("gs://") and split_uri(place)[1]):
            raise Misuse(f"--{name} is gs://BUCKET/NAME, not {place}")
        if place and not storage.bucket_exists(place):
            raise Misuse(f"--{name}: there is no bucket {split_uri(place)[0]}")


def _check_numbers(workers: WorkerOptions) -> None:
    for name in ("num_workers", "max_num_workers"):
        value = getattr(workers, name)
        if value is not None and value < 1:
            raise Misuse(f"--{name} must be at least 1")
    if (workers.num_workers or 0) > (workers.max_num_workers or workers.num_workers or 0):
        raise Misuse("--num_workers must not be above --max_num_workers")


def _check_mode(options: PipelineOptions) -> None:
    google = options.view_as(GoogleCloudOptions)
    given = [*(options.view_as(DebugOptions).experiments or []), *(google.dataflow_service_options or [])]
    if options.view_as(StandardOptions).streaming and AT_LEAST_ONCE in ",".join(given).split(","):
        raise Misuse(f"{AT_LEAST_ONCE}: the stream's steps keep state, which needs {EXACTLY_ONCE}, the default")
    endpoint = google.dataflow_endpoint or ""
    if endpoint.startswith("http://") and "localhost" not in endpoint:
        raise Misuse("--dataflow_endpoint: without TLS it must be http://localhost:PORT, which Beam takes for a test's")


def dataflow_options(options: PipelineOptions) -> None:
    """Set what a job needs of Dataflow; of a stream its mode and a name of its own, too."""
    _take_no_credentials_to_an_emulator()
    google, setup = options.view_as(GoogleCloudOptions), options.view_as(SetupOptions)
    if options.view_as(StandardOptions).streaming:
        # Both are Dataflow's defaults for such a job; what the design rests on is said all the same.
        google.enable_streaming_engine = True
        options.view_as(DebugOptions).add_experiment(EXACTLY_ONCE)
        google.job_name = job_name_of(options)
    else:  # a stream's version has its contracts in it; see graph_of
        carry_version(options, version_as_label())
    setup.save_main_session = False  # every step is in a module that the workers have
    if setup.setup_file and not os.path.dirname(setup.setup_file):
        setup.setup_file = os.path.join(".", setup.setup_file)  # Beam changes to the folder that its name has


def submit(pipeline: beam.Pipeline, log: Callable[[str], None]) -> PipelineResult:
    """Start the job on its runner, or write its graph to --template_location. Misuse where Dataflow refuses it.

    Dataflow's job id is told in the words of CREATED.
    """
    options = pipeline.options  # its own copy
    if not is_dataflow(options):
        return pipeline.run()
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError  # half a second

    google = options.view_as(GoogleCloudOptions)
    _forget_launcher(options)
    logging.getLogger(SUBMITS).disabled = True  # it says as a fatal error, with a trace, what is told here in one line
    try:
        result: Any = pipeline.run()
    except DataflowJobAlreadyExistsError:
        raise Misuse(_taken(google.job_name)) from None
    except GoogleAPICallError as error:
        if error.code == 409:
            raise Misuse(_taken(google.job_name)) from None
        raise Misuse(f"Dataflow refuses the job {why_refused(error)}") from None
    finally:
        logging.getLogger(SUBMITS).disabled = False
    if result.has_job:  # a template has none
        log(CREATED.format(result.job_id()))
        if google.dataflow_endpoint == GoogleCloudOptions.DATAFLOW_ENDPOINT:
            log(CONSOLE.format(region=google.region, job=result.job_id(), project=google.project))
    return cast(PipelineResult, result)


def why_refused(error: GoogleAPICallError) -> str:
    """The code and the reason that Google gives, in one line; its REST clients put the request before it."""
    return f"({error.code}): " + re.sub(r"^[A-Z]+ https?://\S+: ", "", " ".join(str(error.message).split()))


def _taken(name: str) -> str:
    return f"Dataflow has a live job {name} already; launcher.py stream drain ends a stream's, --job_name names another"


def _forget_launcher(options: PipelineOptions) -> None:
    """Leave out of the options, which the job keeps and its page shows, what is of this machine alone."""
    options.view_as(CrossLanguageOptions).beam_services = {}
    options.view_as(StreamOptions).kafka_config = None
    ours = options.view_as(OperationsOptions)
    ours.summary = ours.contracts = None


def _take_no_credentials_to_an_emulator() -> None:
    """Beam's own Cloud Storage clients honour STORAGE_EMULATOR_HOST, but look for credentials first, for half a minute
    where there are none. Beam has no option for it: its --no_auth leaves its file system out (gcsio.GcsIO).
    """
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        auth._Credentials._credentials_init, auth._Credentials._credentials = True, None
