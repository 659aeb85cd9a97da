"""`batch`: files into BigQuery."""

from __future__ import annotations

from pathlib import Path

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from commands.arguments import LOCAL_PROJECT
from commands.session import cloud, engines, interruptible, log, output, progress, quiet
from connectors.storage import Storage
from contracts.errors import Misuse
from operations.metrics import served
from operations.progress import shown
from operations.report import print_summary
from pipelines.batch_run import EXIT_CODES, as_json, run_batch
from pipelines.dataflow import is_dataflow
from pipelines.help import pipeline_help
from pipelines.options import OperationsOptions, PipelineArguments, beam_arguments, check_known
from pipelines.template import write_batch_template
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    if "--help" in argv or "-h" in argv:
        print(pipeline_help("batch"))
        return 0
    parser = PipelineArguments(prog="launcher.py batch", conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)
    interruptible()
    options = PipelineOptions(argv)
    ours = options.view_as(OperationsOptions)
    if ours.local and is_dataflow(options):
        raise Misuse("--local: Dataflow's workers reach no server of this machine; take --runner DirectRunner")
    if options.view_as(StandardOptions).no_wait_until_finish:
        raise Misuse("--no_wait_until_finish is a stream's: a batch's launcher holds the leases")
    directory, runner = Path(ours.local_dir), options.view_as(StandardOptions).runner
    with (
        served(ours.metrics_port),
        cloud(ours.local, directory),
        engines(ours.local, runner, directory) as added,
    ):
        if added:
            options = PipelineOptions([*added, *argv])
            ours = options.view_as(OperationsOptions)
        if ours.local:
            google = options.view_as(GoogleCloudOptions)
            google.project = google.project or LOCAL_PROJECT
        quiet()
        if options.view_as(GoogleCloudOptions).template_location:
            write_batch_template(options, log)
            return 0
        found = run_batch(options, log, shown=lambda total: shown(progress, log, total))
        if ours.summary:
            Storage(options.view_as(GoogleCloudOptions).project).write(ours.summary, as_json(found))
    print_summary(output, found)
    return EXIT_CODES[State(found["state"])]
