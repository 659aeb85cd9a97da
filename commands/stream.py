"""`stream`: Kafka into BigQuery."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from commands import stream_jobs
from commands.default_place import LOCAL_BY_DEFAULT, runs_locally
from commands.local_settings import with_local_place
from commands.notices import noticed
from commands.process_state import interruptible, quiet
from commands.session import SERVICES, STREAM_SERVICES, cloud, engines
from connectors.files.storage import Storage
from connectors.kafka.client import clients_closed
from connectors.kafka.config import KafkaConfig
from console.metrics_server import StatusGauges, served
from console.report import print_lines, print_summary
from console.stream_progress import stream_progress
from console.terminal import Terminal
from console.waits import log_waits
from contracts.errors import UsageError
from pipelines.engines.runners import is_dataflow, stream_defaults
from pipelines.runs.argument_parser import did_you_mean
from pipelines.runs.command_line import CommandLine
from pipelines.runs.exit_codes import EXIT_CODES
from pipelines.runs.help import HELP, pipeline_help
from pipelines.runs.options import DEFAULT_TOPIC
from pipelines.runs.settings import StreamSettings
from pipelines.runs.summary import as_json
from pipelines.stream.ensure import EnsuredStream, FailedStart, ensure_stream
from pipelines.stream.run import run_stream
from pipelines.stream.summary import StreamSummary
from pipelines.templates import write_stream_template
from sample_data.seed import ensure_sample_events
from transforms.run_state import RunState

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    if argv and argv[0] in stream_jobs.ACTIONS:
        return stream_jobs.run(argv[0], argv[1:], terminal)
    if argv and not argv[0].startswith("-") and (meant := did_you_mean(argv[0], stream_jobs.ACTIONS)):
        raise UsageError(f"unknown action {argv[0]!r} of stream{meant}")
    if not HELP.isdisjoint(argv):
        print(pipeline_help("stream", "--help_all" in argv))
        return 0
    line = CommandLine.parse(argv, "launcher.py stream")
    interruptible()
    by_default = runs_locally("stream", line, os.environ)
    if by_default:
        terminal.log(LOCAL_BY_DEFAULT)
        line = line.with_defaults(local=True)
    local, directory = line.value("local"), Path(line.value("local_dir"))
    if local:
        line = with_local_place(line).with_defaults(runner="PrismRunner")
        if is_dataflow(line.beam().options()):
            raise UsageError(
                "--local: Dataflow's workers cannot reach this machine's services; use --runner PrismRunner"
            )
    runner = line.value("runner")
    services = SERVICES if line.given.get("bootstrap_servers") else STREAM_SERVICES
    state = RunState()
    with (
        log_waits(terminal.log),
        served(state.metrics, line.value("metrics_port")),
        cloud(directory, services, terminal, local=local),
        clients_closed(),
        engines(runner, directory, terminal, local=local) as arguments,
    ):
        line = line.with_engine([*arguments, *stream_defaults(runner, line.given)])
        settings = StreamSettings.of(line.with_defaults(bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS")))
        quiet()
        if line.value("template_location"):
            write_stream_template(settings, terminal.log)
            return 0
        if by_default and not (settings.contracts or line.value("topic")):
            ensure_sample_events(KafkaConfig(str(settings.servers)), DEFAULT_TOPIC.partition("=")[0], terminal.log)
        start = ensure_stream if line.value("ensure_running") else partial(run_stream, state=state)
        with (
            noticed(settings, line.value("notify"), terminal.log, repeatedly=True),
            stream_progress(terminal.progress, terminal.log) as show,
        ):
            result = start(settings, terminal.log, StatusGauges(show, state.metrics))
        _print(result, terminal)
        if path := line.value("summary"):
            Storage(settings.project).write(path, as_json(result.to_json()))
    return EXIT_CODES[result.state]


def _print(result: StreamSummary | EnsuredStream | FailedStart, terminal: Terminal) -> None:
    if isinstance(result, EnsuredStream):
        print_lines(terminal.output, result.status.lines())
    else:
        print_summary(terminal.output, result.to_json())
