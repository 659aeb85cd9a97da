"""`stream status | drain | cancel | update`: act on a stream's job that runs without its launcher."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from commands.arguments import local_dir_option
from commands.local_settings import with_local_place
from commands.process_state import interruptible, quiet
from commands.session import local_cluster
from connectors.kafka.client import clients_closed
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from pipelines.engines.job import Job, Jobs, JobState, follow
from pipelines.runs.command_line import CommandLine
from pipelines.runs.settings import StreamSettings
from pipelines.runs.summary import as_json
from pipelines.stream.engine import Engine
from pipelines.stream.replace import replace_stream
from pipelines.stream.status import stream_status

__all__ = ["ACTIONS", "run"]

ACTIONS = {
    "status": "show its state, lag, lease and newest ledger line; exit code 1 unless it runs",
    "drain": "let it write what it has read, and wait until it has ended",
    "cancel": "end it at once, and wait until it has ended; the next start reads again what was in flight",
    "update": "replace it by a job of this version of the code, on engines that can (Dataflow)",
}
IN_LAUNCHER = "job      none: on this runner a stream ends with its launcher; it runs if its lease is held"
EXAMPLE = (
    "--runner DataflowRunner --project P --region europe-west1 --location EU \\\n"
    "      --bootstrap_servers HOST:9092 --group_id shop"
)


def run(action: str, argv: list[str], terminal: Terminal) -> int:
    """Run `stream ACTION` and return its exit code."""
    arguments, argv = _own_parser(action).parse_known_args(argv)
    line = CommandLine.parse(argv, f"launcher.py stream {action}")
    interruptible()
    if line.value("local"):
        line = _on_this_machine(line)
    line = line.with_defaults(bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    quiet()
    with clients_closed():
        if action == "status":
            return _status(line, arguments.format, terminal)
        return _act(action, line, terminal.log)


def _act(action: str, line: CommandLine, log: Callable[[str], None]) -> int:
    engine, job = _job(line)
    if job is None or job.state.ended:
        raise UsageError(f"no job {engine.name} runs" + (f"; the last one ended: {job.detail}" if job else ""))
    if action == "update":
        return _update(line, engine.jobs, job, log)
    return _end(action, engine.jobs, job, log)


def _job(line: CommandLine) -> tuple[Engine, Job | None]:
    """Return the engine and the stream's job on it, the live one or else the last one."""
    engine = Engine.of(line.beam())
    if engine is None:
        runner = line.value("runner") or "no --runner"
        raise UsageError(f"a stream on {runner} ends with its launcher: stop it there, with Ctrl-C")
    return engine, engine.jobs.find(engine.name)


def _own_parser(action: str) -> argparse.ArgumentParser:
    """Return the parser of what is not an option of the stream."""
    parser = argparse.ArgumentParser(
        prog=f"launcher.py stream {action}",
        usage=f"launcher.py stream {action} OPTIONS OF THE STREAM" + (" [--format json]" * (action == "status")),
        description=f"Act on a stream's job on Dataflow or Flink: {ACTIONS[action]}. Give the options that the stream"
        " was started with; --job_name, or else the group, names the job.",
        epilog=f"examples:\n  python3 launcher.py stream {action} {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if action == "status":
        parser.add_argument("--format", choices=["text", "json"], default="text", help="for a person or for a program")
    return parser


def _on_this_machine(line: CommandLine) -> CommandLine:
    """Return the command line with the place of the local cloud. Raises UsageError if it does not run."""
    from local import services

    directory = Path(line.value("local_dir"))
    endpoints = services.status(directory)
    if "kafka" not in endpoints.services:
        raise UsageError(
            f"no local cloud runs in {directory}: start a stream, or launcher.py local up{local_dir_option(directory)}"
        )
    os.environ.update(endpoints.environment())
    return with_local_place(line.with_engine(local_cluster(directory)))


def _status(line: CommandLine, form: str, terminal: Terminal) -> int:
    """Print the status. Without an engine that keeps the job, a stream runs if it holds its lease."""
    detached = Engine.of(line.beam()) is not None
    job = _job(line)[1] if detached else None
    settings = StreamSettings.of(line, ": status takes the options that the stream was started with")
    status = stream_status(settings, job)
    if form == "json":
        print(as_json(status.to_json()).decode(), end="")
    else:
        print_lines(terminal.output, status.lines() if detached else [IN_LAUNCHER, *status.lines()[1:]])
    if not detached:
        return 0 if status.lease else 1
    return 0 if status.job and status.job.state is JobState.RUNNING else 1


def _end(action: str, jobs: Jobs, job: Job, log: Callable[[str], None]) -> int:
    (jobs.drain if action == "drain" else jobs.cancel)(job)
    try:
        ended = follow(jobs, job, lambda now: now.state.ended, log)
    except KeyboardInterrupt:
        log(f"job {job.name} continues to end, but nobody waits for it")
        return 1
    return 0 if ended.state is JobState.DONE else 1


def _update(line: CommandLine, jobs: Jobs, job: Job, log: Callable[[str], None]) -> int:
    if not jobs.replaces:
        raise UsageError(f"{line.value('runner')} cannot replace a job: drain it, and start it again")
    new = replace_stream(StreamSettings.of(line), jobs, job, log)
    return 0 if new.state is JobState.RUNNING else 1
