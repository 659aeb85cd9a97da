"""`doctor`: what is wrong with a configuration, before a pipeline meets it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from rich.text import Text

from commands.arguments import LOCAL_LOCATION, LOCAL_PROJECT, parser
from commands.default_place import LOCAL_BY_DEFAULT, runs_locally
from commands.doctor_machine import ThisMachine
from commands.process_state import quiet
from commands.session import local_cluster
from connectors.kafka.client import clients_closed
from console.printable import printable, printable_json
from console.terminal import Terminal
from operations.doctor.examination import Examination
from operations.doctor.findings import Finding, Mark
from pipelines.runs.argument_parser import PipelineArguments
from pipelines.runs.command_line import CommandLine
from pipelines.runs.options import OperationsOptions

__all__ = ["run"]

LOOKED_AT = {
    "--project": "BigQuery's and Cloud Storage's project; with --location: jobs, datasets, tables, leases",
    "--location": "where all datasets have to be",
    "--input": "the folder, local or gs://, and that it has files of the tables",
    "--processed": "the bucket, and that objects can be written to it",
    "--dead_letters": "the same",
    "--temp_location": "the same",
    "--contracts": "contracts instead of the shipped ones",
    "--tables": "the tables to look at; default: those of --topic, else all of the contracts",
    "--dataset": "dataset of the tables; default: what each contract says",
    "--operations_dataset": "dataset of ledger, dead letters, leases, write streams",
    "--bootstrap_servers": "Kafka: that a broker answers; with it topic and group",
    "--kafka_config": "Kafka: TLS and SASL, and that the secrets that it refers to are there",
    "--topic": "TOPIC=TABLE, repeatable; default: user-events=user_events_streaming",
    "--group_id": "its members, its offsets, what is left to read; default: contract-pipeline",
    "--runner": "DirectRunner, PrismRunner, FlinkRunner (--flink_master, --parallelism), DataflowRunner (--region, "
    "--temp_location, --setup_file), PortableRunner (--job_endpoint)",
    "--local": "this machine's local cloud, which is started as for the other commands",
    "--local_dir": "where its data is (default .local)",
}
"""The options that decide what is checked, all of them options of batch or stream, and what each is for."""
DESCRIPTION = """Say what is wrong with this machine, the cloud and a configuration, and how to fix it.
Nothing is changed.

Put doctor in the place of batch or stream in your command line: it takes all of their options. What no option names is
not checked, and it says so."""
EPILOG = """
Exit codes: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 an option that is unknown."""


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command; its exit code."""
    if "--help" in argv or "-h" in argv:
        print(_help())
        return 0
    quiet()
    own = PipelineArguments(add_help=False, allow_abbrev=False)
    own.add_argument("--format", choices=("table", "json"), default="table")
    given, rest = own.parse_known_args(argv)
    if runs_locally("doctor", CommandLine.parse(rest, "launcher.py doctor"), os.environ):
        terminal.log(LOCAL_BY_DEFAULT)
        rest = ["--local", *rest]
    with clients_closed(), ExitStack() as stack:
        options = PipelineOptions([*_local_arguments(rest), *rest])
        ours = options.view_as(OperationsOptions)
        machine = ThisMachine(bool(ours.local), Path(ours.local_dir), stack)
        findings = Examination(options, rest, machine).findings()
        wrong = sum(finding.mark is Mark.WRONG for finding in findings)
        warnings = sum(finding.mark is Mark.WARNING for finding in findings)
        _show(findings, given.format, wrong, warnings, terminal)
    return 1 if wrong else 0


def _local_arguments(argv: Sequence[str]) -> list[str]:
    """Return the defaults of the local cloud, and the options of its Flink cluster if the job would run on it."""
    options = PipelineOptions(list(argv))
    ours = options.view_as(OperationsOptions)
    if not ours.local:
        return []
    place = [f"--project={LOCAL_PROJECT}", f"--location={LOCAL_LOCATION}"]
    flink = options.view_as(StandardOptions).runner == "FlinkRunner"
    return [*place, *(local_cluster(Path(ours.local_dir)) if flink else ())]


def _help() -> str:
    command = parser(
        "doctor",
        DESCRIPTION,
        "--local\n"
        "--local --runner PrismRunner --format json\n"
        "--runner FlinkRunner --flink_master HOST:8081 --project P --location EU --bootstrap_servers HOST:9092 "
        "--topic clicks=user_events_streaming --group_id shop",
    )
    command.usage = "launcher.py doctor [options of batch or stream] [--format json]"
    command.epilog = f"{command.epilog}\n{EPILOG}"
    command.add_argument("--format", choices=("table", "json"), default="table")
    for option, text in LOOKED_AT.items():
        takes: dict[str, str] = {"action": "store_true"} if option == "--local" else {"metavar": "VALUE"}
        command.add_argument(option, help=text, **takes)  # type: ignore[arg-type]
    return command.format_help()


def _show(findings: Sequence[Finding], format: str, wrong: int, warnings: int, terminal: Terminal) -> None:
    if format == "json":
        lines = [
            {"about": one.about, "mark": one.mark.value, "message": one.message, "fix": one.fix} for one in findings
        ]
        print(printable_json({"wrong": wrong, "warnings": warnings, "findings": lines}))
        return
    styles = {Mark.OK: "green", Mark.WARNING: "yellow", Mark.WRONG: "bold red", Mark.UNCHECKED: "dim"}
    for one in findings:
        fix = f"; fix: {one.fix}" if one.fix else ""
        line = Text.assemble((f"{one.mark.value:<12}", styles[one.mark]), printable(f"{one.about}: {one.message}{fix}"))
        terminal.output.print(line, soft_wrap=True)
    terminal.log(f"{wrong} wrong, {warnings} warnings")
