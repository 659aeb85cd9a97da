"""`stream`: Kafka into BigQuery."""

from __future__ import annotations

import os
from pathlib import Path

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    KafkaStreamsRunnerOptions,
    PipelineOptions,
    StandardOptions,
)

from commands import stream_jobs
from commands.arguments import LOCAL_PROJECT
from commands.session import SERVICES, STREAM_SERVICES, cloud, engines, interruptible, log, output, progress, quiet
from connectors.storage import Storage
from contracts.errors import Misuse
from operations.metrics import StatusGauges, served
from operations.report import print_lines, print_summary
from operations.stream_status import shown
from pipelines.batch_run import EXIT_CODES, as_json
from pipelines.dataflow import is_dataflow
from pipelines.help import pipeline_help
from pipelines.job_status import status_lines
from pipelines.options import OperationsOptions, PipelineArguments, StreamOptions, beam_arguments, check_known
from pipelines.runners import stream_defaults
from pipelines.stream_ensure import ensure_stream
from pipelines.stream_run import run_stream
from pipelines.template import write_stream_template
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    if argv and argv[0] in stream_jobs.ACTIONS:
        return stream_jobs.run(argv[0], argv[1:])
    if "--help" in argv or "-h" in argv:
        print(pipeline_help("stream"))
        return 0
    parser = PipelineArguments(prog="launcher.py stream", conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)
    interruptible()
    options = PipelineOptions(argv)
    ours = options.view_as(OperationsOptions)
    runner = options.view_as(StandardOptions).runner or ("PrismRunner" if ours.local else None)
    if ours.local and is_dataflow(options):
        raise Misuse("--local: Dataflow's workers reach no server of this machine; take --runner PrismRunner")
    given = any(argument.startswith("--bootstrap_servers") for argument in argv)
    services = SERVICES if given else STREAM_SERVICES
    directory = Path(ours.local_dir)
    with (
        served(ours.metrics_port),
        cloud(ours.local, directory, services),
        engines(ours.local, runner, directory) as added,
    ):
        added += stream_defaults(runner, argv)
        if added:
            options = PipelineOptions([*added, "--runner", str(runner), *argv])
            ours = options.view_as(OperationsOptions)
        if ours.local:
            google = options.view_as(GoogleCloudOptions)
            google.project = google.project or LOCAL_PROJECT
        servers = options.view_as(KafkaStreamsRunnerOptions).bootstrap_servers if given else None
        quiet()
        servers = servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        if options.view_as(GoogleCloudOptions).template_location:
            write_stream_template(options, servers, log)
            return 0
        start = ensure_stream if options.view_as(StreamOptions).ensure_running else run_stream
        with shown(progress, log) as show:
            found = start(options, servers, log, StatusGauges(show))
        if ours.summary:
            Storage(options.view_as(GoogleCloudOptions).project).write(ours.summary, as_json(found))
    if "job" in found:
        print_lines(output, status_lines(found))
    else:
        print_summary(output, found)
    return EXIT_CODES[State(found["state"])]
