"""`doctor`: what is wrong with a configuration, before a pipeline meets it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from rich.text import Text

from commands.arguments import parser
from commands.doctor_checks import Examination
from commands.session import local_cluster, log, output, quiet
from operations.doctor.findings import Finding, Mark
from pipelines.options import OperationsOptions, PipelineArguments, beam_arguments, check_known

__all__ = ["run"]

LOOKED_AT = {
    "--project": "BigQuery's and Cloud Storage's project; with --location: jobs, data sets, tables, leases",
    "--location": "where all data sets have to be",
    "--input": "the folder, local or gs://, and that it has files of the tables",
    "--processed": "the bucket, and that objects can be written to it",
    "--dead_letters": "the same",
    "--temp_location": "the same",
    "--contracts": "contracts in place of the shipped ones",
    "--tables": "the tables to look at; default: those of --topic, else all of the contracts",
    "--dataset": "data set of the tables; default: what each contract says",
    "--operations_dataset": "data set of ledger, dead letters, leases, write streams",
    "--bootstrap_servers": "Kafka: that a broker answers; with it topic and group",
    "--kafka_config": "Kafka: TLS and SASL, and that the secrets that it refers to are there",
    "--topic": "TOPIC=TABLE, repeatable; default: user-events=user_events_streaming",
    "--group_id": "its members, its offsets, what is left to read; default: shop-pipeline",
    "--runner": "DirectRunner, PrismRunner, FlinkRunner (--flink_master, --parallelism), DataflowRunner (--region, "
    "--temp_location, --setup_file), PortableRunner (--job_endpoint)",
    "--local": "this machine's local cloud, which is started as for the other commands",
    "--local_dir": "where its data is (default .local)",
}
"""The options that decide what is looked at, all of them options of batch or stream, and what each is for."""
DESCRIPTION = """Say what is wrong with this machine, the cloud and a configuration, and how to mend it.
Nothing is changed.

Put doctor in the place of batch or stream in your command line: it takes all of their options. What no option names is
not checked, and it says so."""
EPILOG = """
Exit codes: 0 nothing is wrong (there may be warnings), 1 something is wrong, 2 an option that is unknown."""


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    if "--help" in argv or "-h" in argv:
        print(_help())
        return 0
    quiet()
    own = PipelineArguments(add_help=False, allow_abbrev=False)
    own.add_argument("--format", choices=("table", "json"), default="table")
    given, rest = own.parse_known_args(argv)
    known = PipelineArguments(prog="launcher.py doctor", conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(known)
    check_known(rest, known)
    with ExitStack() as stack:
        findings = Examination(PipelineOptions([*_cluster(rest), *rest]), rest, stack).findings()
        wrong = sum(finding.mark is Mark.WRONG for finding in findings)
        warnings = sum(finding.mark is Mark.WARNING for finding in findings)
        _show(findings, given.format, wrong, warnings)
    return 1 if wrong else 0


def _cluster(argv: Sequence[str]) -> list[str]:
    """The options of this machine's Flink cluster, where a job with this command line would run on it."""
    options = PipelineOptions(list(argv))
    ours = options.view_as(OperationsOptions)
    if not ours.local or options.view_as(StandardOptions).runner != "FlinkRunner":
        return []
    return local_cluster(Path(ours.local_dir))


def _help() -> str:
    command = parser(
        "doctor", DESCRIPTION,
        "--local\n"
        "--local --runner PrismRunner --format json\n"
        "--runner FlinkRunner --flink_master HOST:8081 --project P --location EU --bootstrap_servers HOST:9092 "
        "--topic clicks=user_events_streaming --group_id shop",
    )  # fmt: skip
    command.usage = "launcher.py doctor [options of batch or stream] [--format json]"
    command.epilog = f"{command.epilog}\n{EPILOG}"
    command.add_argument("--format", choices=("table", "json"), default="table")
    for option, text in LOOKED_AT.items():
        takes: dict[str, str] = {"action": "store_true"} if option == "--local" else {"metavar": "VALUE"}
        command.add_argument(option, help=text, **takes)  # type: ignore[arg-type]
    return command.format_help()


def _show(findings: Sequence[Finding], format: str, wrong: int, warnings: int) -> None:
    if format == "json":
        lines = [{"about": one.about, "mark": one.mark.value, "says": one.says, "mend": one.mend} for one in findings]
        print(json.dumps({"wrong": wrong, "warnings": warnings, "findings": lines}, indent=2, ensure_ascii=False))
        return
    styles = {Mark.OK: "green", Mark.WARNING: "yellow", Mark.WRONG: "bold red", Mark.UNCHECKED: "dim"}
    for one in findings:
        mend = f"; mend: {one.mend}" if one.mend else ""
        line = Text.assemble((f"{one.mark.value:<12}", styles[one.mark]), f"{one.about}: {one.says}{mend}")
        output.print(line, soft_wrap=True)
    log(f"{wrong} wrong, {warnings} warnings")
