"""The texts of `--help` and `--help_all` of the pipelines: own options, shared options, options of Beam, examples."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from pipelines.runs.command_line import pipeline_parser
from pipelines.runs.options import OperationsOptions, StreamOptions

__all__ = ["BATCH_ONLY", "BEAM_OPTIONS", "HELP", "PIPELINES", "pipeline_help"]

PIPELINES = {
    "batch": (
        "Load raw files into BigQuery: validated against contracts, without duplicates.",
        """  python3 launcher.py batch --runner DirectRunner
      on this machine: the raw files of the local bucket, with sample data if it is empty
  python3 launcher.py batch --runner DirectRunner --local --input MY_FOLDER --contracts MY_CONTRACTS
      your own files and tables, on this machine
  python3 launcher.py batch --runner DataflowRunner --project P --region europe-west1 --location EU \\
      --input gs://B/raw --processed gs://B/processed --dead_letters gs://B/dead_letters \\
      --temp_location gs://B/tmp --setup_file ./setup.py
      on Dataflow""",
    ),
    "stream": (
        "Load records of Kafka topics into BigQuery: validated against contracts, each exactly once.",
        """  python3 launcher.py stream --runner PrismRunner
      on this machine, until Ctrl-C: the topic of the local Kafka, with sample events if there is none
  python3 launcher.py stream --runner PrismRunner --local --stop_when_idle 5
      on this machine, until everything in the local Kafka's topic has been read
  python3 launcher.py stream --runner FlinkRunner --flink_master HOST:8081 --project P --location EU \\
      --bootstrap_servers HOST:9092 --topic clicks=user_events_streaming --group_id shop
      on a Flink cluster; with --ensure_running only if it does not run there yet
  python3 launcher.py stream --runner DataflowRunner --project P --region europe-west1 --location EU \\
      --bootstrap_servers HOST:9092 --temp_location gs://B/tmp --setup_file ./setup.py \\
      --template_location gs://B/templates/stream
      write the job graph, from which gcloud dataflow jobs run starts jobs""",
    ),
}
"""What each pipeline does, and examples."""

BEAM_OPTIONS = {
    "--runner": "DirectRunner (on this machine), PrismRunner, FlinkRunner, DataflowRunner, PortableRunner",
    "--project": "Google Cloud project; credentials are the application default credentials",
    "--region": "Dataflow: region of the workers",
    "--temp_location": "Dataflow: gs:// folder for temporary files",
    "--staging_location": "Dataflow: gs:// folder for what workers install; default: under --temp_location",
    "--setup_file": "./setup.py, if workers run elsewhere and need this code",
    "--sdk_container_image": "Dataflow: your own image that contains this code, instead of --setup_file",
    "--template_location": "Dataflow: write the job graph to this gs:// file and start no job",
    "--max_num_workers": "Dataflow: largest number of workers",
    "--service_account_email": "Dataflow: service account of the workers",
    "--flink_master": "Flink: HOST:PORT of the cluster",
    "--parallelism": "Flink: number of parallel tasks",
    "--bootstrap_servers": "Kafka: HOST:PORT, several with commas",
    "--job_endpoint": "PortableRunner: HOST:PORT of the job service",
    "--environment_type": "portable runners: where the Python workers run, LOOPBACK for this process",
    "--job_name": "name of the job",
    "--no_wait_until_finish": "streams on Dataflow or a Flink cluster: exit as soon as the job runs",
    "--labels": "key=value label of the job; may be repeated",
}
"""The options of Beam that are used most here."""

ALWAYS_SHOWN = {"batch": ("--runner", "--project"), "stream": ("--runner", "--project", "--bootstrap_servers")}
"""The options of Beam that `--help` lists, by pipeline; `--help_all` lists all."""
HELP = frozenset({"-h", "--help", "--help_all"})
"""The options that print a help text."""
BATCH_ONLY = frozenset(
    {
        "--input",
        "--strict_files",
        "--tables",
        "--processed",
        "--dead_letters",
        "--only_new",
        "--max_expansion",
        "--workers",
        "--dry_run",
    }
)
"""Options of OperationsOptions that a stream does not use, and `--dry_run`."""
LISTS = """Documents on the options of Beam and of its runners:
  Beam      https://beam.apache.org/documentation/programming-guide/#configuring-pipeline-options
  Dataflow  https://cloud.google.com/dataflow/docs/reference/pipeline-options
  Flink     https://beam.apache.org/documentation/runners/flink/#pipeline-options-for-the-flink-runner"""
MORE = "All options of Beam and of its runners are accepted too: launcher.py {name} --help_all lists them."


def pipeline_help(name: str, all_options: bool = False) -> str:
    """Return what `launcher.py NAME --help` prints, or `--help_all` with `all_options`."""
    description, examples = PIPELINES[name]
    parser = argparse.ArgumentParser(
        prog=f"launcher.py {name}",
        usage=f"launcher.py {name} --runner RUNNER [options]",
        description=description,
        epilog=f"examples:\n{examples}\n\n{LISTS if all_options else MORE.format(name=name)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    own, shared = _own_actions(name)
    groups = {f"options of {name}": own, "options of both pipelines": shared}
    shown = ALWAYS_SHOWN[name]
    groups["engine and services"] = _beam_actions({option: BEAM_OPTIONS[option] for option in shown})
    if all_options:
        others = {option: text for option, text in BEAM_OPTIONS.items() if option not in shown}
        groups["most used options of Beam"] = _beam_actions(others)
        listed = {option for actions in groups.values() for action in actions for option in action.option_strings}
        listed |= BATCH_ONLY | set(_options(StreamOptions))
        groups["other options of Beam and its runners"] = [
            action for action in pipeline_parser()._actions if listed.isdisjoint(action.option_strings)
        ]
    for title, actions in groups.items():
        group = parser.add_argument_group(title)
        for action in actions:
            group._add_action(action)
    return parser.format_help()


def _own_actions(name: str) -> tuple[list[argparse.Action], list[argparse.Action]]:
    """Return the options of this pipeline alone, and those of both."""
    operations = _options(OperationsOptions)
    shared = [action for option, action in operations.items() if option not in BATCH_ONLY]
    if name == "stream":
        return list(_options(StreamOptions).values()), shared
    return [*(operations[option] for option in operations if option in BATCH_ONLY), *_dry_run()], shared


def _options(options: type[OperationsOptions] | type[StreamOptions]) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    options._add_argparse_args(parser)
    return {action.option_strings[0]: action for action in parser._actions}


def _beam_actions(texts: Mapping[str, str]) -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    for option, text in texts.items():
        parser.add_argument(option, help=text, metavar="VALUE")
    return parser._actions


def _dry_run() -> list[argparse.Action]:
    """Return the action of --dry_run, which only the command reads: Beam has an option of this name for its tests."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--dry_run", action="store_true", help="print what would be read and changed, and change nothing"
    )
    return parser._actions
