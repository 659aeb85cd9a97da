"""`batch`: files into BigQuery."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from apache_beam.options.pipeline_options import StandardOptions

from commands.arguments import LOCAL_PROJECT, local_options
from commands.default_place import LOCAL_BY_DEFAULT, runs_locally
from commands.local_settings import create_local_buckets, with_local_folders
from commands.notices import noticed
from commands.process_state import interruptible, quiet
from commands.session import cloud, engines
from connectors.files.storage import Storage
from console.batch_progress import batch_progress
from console.metrics_server import served
from console.report import print_lines, print_summary
from console.terminal import Terminal
from console.waits import log_waits
from contracts.bookkeeping import OPERATIONS_DATASET
from contracts.errors import UsageError
from pipelines.batch.dry_run import dry_run_lines
from pipelines.batch.preflight import NoInput
from pipelines.batch.run import run_batch
from pipelines.batch.summary import BatchSummary
from pipelines.engines.fork_server import ForkServer, fork_server
from pipelines.engines.machine import usable_cores
from pipelines.engines.runners import is_dataflow
from pipelines.engines.worker import work
from pipelines.runs.command_line import CommandLine
from pipelines.runs.exit_codes import EXIT_CODES
from pipelines.runs.help import HELP, pipeline_help
from pipelines.runs.settings import MAX_WORKERS, BatchSettings
from pipelines.runs.summary import as_json
from pipelines.templates import write_batch_template
from sample_data.seed import ensure_sample_files
from transforms.progress import Progress
from transforms.run_state import RunState

__all__ = ["run"]

DRY_RUN = "--dry_run"


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    if not HELP.isdisjoint(argv):
        print(pipeline_help("batch", "--help_all" in argv))
        return 0
    dry_run = DRY_RUN in argv  # Beam has an option of this name too, with a value
    line = CommandLine.parse([argument for argument in argv if argument != DRY_RUN], "launcher.py batch")
    interruptible()
    by_default = runs_locally("batch", line, os.environ)
    if by_default:
        terminal.log(LOCAL_BY_DEFAULT)
        line = line.with_defaults(local=True)
    local, directory, runner = line.value("local"), Path(line.value("local_dir")), line.value("runner")
    options = line.beam().options()
    if local and is_dataflow(options):
        raise UsageError("--local: Dataflow's workers cannot reach this machine's services; use --runner DirectRunner")
    if options.view_as(StandardOptions).no_wait_until_finish:
        raise UsageError("--no_wait_until_finish is an option of streams: a batch's launcher holds the leases")
    state = RunState()
    with (
        _fork_server(line, dry_run=dry_run) as server,
        log_waits(terminal.log),
        served(state.metrics, line.value("metrics_port")),
        cloud(directory, terminal=terminal, local=local),
        engines(runner, directory, terminal, local=local) as arguments,
    ):
        line = line.with_engine(arguments)
        if local:
            line = with_local_folders(line)
        settings = BatchSettings.of(line)
        quiet()
        if dry_run:
            print_lines(terminal.output, dry_run_lines(settings))
            return 0
        if local:
            create_local_buckets(settings, line)
        if by_default and not settings.contracts:
            ensure_sample_files(Storage(settings.project), settings.input, terminal.log)
        if line.value("template_location"):
            write_batch_template(settings, terminal.log)
            return 0
        with noticed(settings, line.value("notify"), terminal.log):
            summary = _run(settings, line, terminal, state, server)
        print_summary(terminal.output, summary.to_json())
        if path := line.value("summary"):
            Storage(settings.project).write(path, as_json(summary.to_json()))
    if any(table.counts.dead_letter for table in summary.tables.values()) and terminal.output.is_terminal:
        print_lines(terminal.output, _how_to_read_dead_letters(settings, summary.run_id, directory))
    return EXIT_CODES[summary.state]


def _how_to_read_dead_letters(settings: BatchSettings, run_id: str, directory: Path) -> list[str]:
    """Return the command that shows why the records of a run were refused."""
    place = f"--project {settings.project} --location {settings.location}"
    if settings.project == LOCAL_PROJECT:
        place = local_options(directory)
    given = {"--operations_dataset": settings.operations_dataset, "--contracts": settings.contracts}
    options = [
        f"{name} {shlex.quote(str(value))}" for name, value in given.items() if value not in (None, OPERATIONS_DATASET)
    ]
    return [
        "",
        "why records were refused:",
        f"  launcher.py dead-letters list --run {run_id} \\",
        f"      {' '.join([*options, place])}",
    ]


def _fork_server(line: CommandLine, *, dry_run: bool) -> AbstractContextManager[ForkServer | None]:
    """Return the server of the run's workers, which must start before this process has threads; None to need none."""
    most = line.value("workers") or (usable_cores() if sys.platform == "linux" else 1)
    direct = (line.value("runner") or "DirectRunner") == "DirectRunner"
    needed = direct and not dry_run and not line.value("template_location") and 1 < most <= MAX_WORKERS
    return fork_server(most, work) if needed else nullcontext()


def _run(
    settings: BatchSettings, line: CommandLine, terminal: Terminal, state: RunState, server: ForkServer | None
) -> BatchSummary:
    def display(progress: Progress) -> AbstractContextManager[None]:
        return batch_progress(terminal.progress, terminal.log, progress)

    try:
        return run_batch(settings, terminal.log, state, display, server)
    except NoInput as error:
        if line.value("local") and not line.given.get("input"):
            sample = f"launcher.py generate --output {settings.input} {local_options(Path(line.value('local_dir')))}"
            raise UsageError(f"{error}; give --input YOUR_FOLDER, or create sample data: {sample}") from None
        raise
