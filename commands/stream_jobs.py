"""`stream status | drain | cancel | update`: a stream's job that runs on its engine without its launcher."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import KafkaStreamsRunnerOptions, PipelineOptions, StandardOptions

from commands.arguments import LOCAL_LOCATION, LOCAL_PROJECT
from commands.session import interruptible, local_cluster, log, output, quiet
from contracts.errors import Misuse
from operations.report import print_lines
from pipelines.job_status import job_status, status_lines
from pipelines.jobs import Job, Jobs, JobState, follow, job_name_of, jobs_of
from pipelines.options import OperationsOptions, PipelineArguments, beam_arguments, check_known
from pipelines.stream_replace import replace_stream

__all__ = ["ACTIONS", "run"]

ACTIONS = {
    "status": "how it is, the group's lag, who holds the lease, the ledger's last line; exit code 1 unless it runs",
    "drain": "let it write what it has read, end it, and wait until it has ended",
    "cancel": "end it at once, and wait until it has ended: the next start reads again what was in flight",
    "update": "put one of this version of the code in its place, on engines that can (Dataflow)",
}
EXAMPLE = (
    "--runner DataflowRunner --project P --region europe-west1 --location EU \\\n"
    "      --bootstrap_servers HOST:9092 --group_id shop"
)


def run(action: str, argv: list[str]) -> int:
    """Run the command; its exit code."""
    own = argparse.ArgumentParser(
        prog=f"launcher.py stream {action}",
        usage=f"launcher.py stream {action} OPTIONS OF THE STREAM" + (" [--format json]" * (action == "status")),
        description=f"Of a stream's job on Dataflow or Flink: {ACTIONS[action]}. The options are those that the"
        " stream was started with; --job_name, or else the group, names the job.",
        epilog=f"examples:\n  python launcher.py stream {action} {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if action == "status":
        own.add_argument("--format", choices=["text", "json"], default="text", help="for a person, or for a program")
    arguments, argv = own.parse_known_args(argv)
    parser = PipelineArguments(prog=own.prog, conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    check_known(argv, parser)
    interruptible()
    options = PipelineOptions(argv)
    if options.view_as(OperationsOptions).local:
        options = _on_this_machine(argv)
    options.view_as(StandardOptions).streaming = True
    quiet()
    given = any(argument.startswith("--bootstrap_servers") for argument in argv)
    servers = options.view_as(KafkaStreamsRunnerOptions).bootstrap_servers if given else None
    servers = servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    jobs, name = jobs_of(options), job_name_of(options)
    if jobs is None:
        runner = options.view_as(StandardOptions).runner
        raise Misuse(f"a stream on {runner or 'no --runner'} ends with its launcher: stop it there, with Ctrl-C")
    job = jobs.find(name)
    if action == "status":
        return _tell(job_status(options, servers, job), arguments.format)
    if job is None or job.state.ended:
        raise Misuse(f"no job {name} runs" + (f"; the last one ended: {job.detail}" if job else ""))
    if action == "update":
        return _update(options, servers, jobs, job)
    return _end(action, jobs, job)


def _on_this_machine(argv: list[str]) -> PipelineOptions:
    """The options with those of the local cloud, as far as it runs: a job outlives its launcher only if that does."""
    from local import services

    directory = Path(PipelineOptions(argv).view_as(OperationsOptions).local_dir)
    os.environ.update(services.status(directory).environment())
    place = [f"--project={LOCAL_PROJECT}", f"--location={LOCAL_LOCATION}"]
    return PipelineOptions([*local_cluster(directory), *place, *argv])


def _tell(found: dict[str, Any], form: str) -> int:
    if form == "json":
        print(json.dumps(found, indent=2, default=str))
    else:
        print_lines(output, status_lines(found))
    return 0 if found["job"] and found["job"]["state"] is JobState.RUNNING else 1


def _end(action: str, jobs: Jobs, job: Job) -> int:
    (jobs.drain if action == "drain" else jobs.cancel)(job)
    try:
        ended = follow(jobs, job, lambda now: now.state.ended, log)
    except KeyboardInterrupt:
        log(f"job {job.name} goes on ending without being watched")
        return 1
    return 0 if ended.state is JobState.DONE else 1


def _update(options: PipelineOptions, servers: str | None, jobs: Jobs, job: Job) -> int:
    if not jobs.replaces:
        runner = options.view_as(StandardOptions).runner
        raise Misuse(f"{runner} puts no job in the place of another: drain it, and start it again")
    placed = replace_stream(options, servers, jobs, job, log)
    return 0 if placed.state is JobState.RUNNING else 1
