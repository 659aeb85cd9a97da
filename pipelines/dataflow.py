"""What a stream needs of Dataflow, and what is refused there because it cannot end well."""

from __future__ import annotations

import os
from pathlib import Path

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

from connectors.storage import Storage, split_uri
from contracts.errors import Misuse
from pipelines.options import OperationsOptions, StreamOptions

__all__ = ["check_dataflow", "forget_launcher", "is_dataflow", "stream_on_dataflow"]

EXACTLY_ONCE, AT_LEAST_ONCE = "streaming_mode_exactly_once", "streaming_mode_at_least_once"
PLACES = ("temp_location", "staging_location", "template_location")


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether the job is Dataflow's."""
    return bool(options.view_as(StandardOptions).runner == "DataflowRunner")


def check_dataflow(options: PipelineOptions) -> None:
    """Misuse where Dataflow lacks something, or would be told what makes the stream unsafe; also for another runner
    that is given what is Dataflow's.
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
    given = [*(options.view_as(DebugOptions).experiments or []), *(google.dataflow_service_options or [])]
    if AT_LEAST_ONCE in ",".join(given).split(","):
        raise Misuse(f"{AT_LEAST_ONCE}: the stream's steps keep state, which needs {EXACTLY_ONCE}, the default")
    storage = Storage(google.project)
    for name in PLACES:
        place = getattr(google, name)
        if place and not (place.startswith("gs://") and split_uri(place)[1]):
            raise Misuse(f"--{name} is gs://BUCKET/NAME, not {place}")
        if place and not storage.bucket_exists(place):
            raise Misuse(f"--{name}: there is no bucket {split_uri(place)[0]}")


def stream_on_dataflow(options: PipelineOptions) -> None:
    """Set what a stream needs of Dataflow."""
    _take_no_credentials_to_an_emulator()
    # Both are Dataflow's defaults for such a job; what the design rests on is said all the same.
    options.view_as(GoogleCloudOptions).enable_streaming_engine = True
    options.view_as(DebugOptions).add_experiment(EXACTLY_ONCE)
    setup = options.view_as(SetupOptions)
    setup.save_main_session = False  # every step is in a module that the workers have
    if setup.setup_file and not os.path.dirname(setup.setup_file):
        setup.setup_file = os.path.join(".", setup.setup_file)  # Beam changes to the folder that its name has


def forget_launcher(options: PipelineOptions) -> None:
    """Leave out of the options, which the job keeps and its page shows, what is of this machine alone.

    To be called when the graph is built, and before it is submitted.
    """
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
