"""`replay`: dead letters through today's contracts again."""

from __future__ import annotations

import argparse
from dataclasses import replace

from google.api_core.exceptions import NotFound

from commands.arguments import add_operations, add_place, add_tables, at_least_one, parser, place
from commands.kafka_arguments import add_kafka, kafka_config
from commands.local_settings import LOCAL_FOLDERS
from commands.process_state import interruptible, quiet
from commands.session import SERVICES, STREAM_SERVICES, cloud, running_services
from connectors.files.storage import FileChanged, Storage
from console.batch_progress import batch_progress
from console.report import print_lines, print_summary
from console.terminal import Terminal
from console.waits import log_waits
from contracts.errors import UsageError
from contracts.refusal import ErrorCode
from pipelines.replay.dry_run import dry_run_lines
from pipelines.replay.patches import patch_lines
from pipelines.replay.run import ReplaySettings, run_replay
from pipelines.replay.selection import Selection
from pipelines.replay.to_topic import send_to_topic
from pipelines.replay.where import condition
from pipelines.runs.contracts import load_contracts
from pipelines.runs.exit_codes import EXIT_CODES
from pipelines.runs.required import check_required
from pipelines.runs.settings import DATASET, RUN_ID
from pipelines.runs.summary import as_json
from transforms.run_state import RunState

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    project, location = place(arguments, "replay")
    folders = {name: getattr(arguments, name) for name in ("processed", "dead_letters")}
    if arguments.local:
        folders = {name: folder or LOCAL_FOLDERS[name] for name, folder in folders.items()}
    elif not arguments.dry_run and not arguments.to_topic:
        check_required({f"--{name}": folder for name, folder in folders.items()}, ": gs:// folders, as for batch")
    _check_names("--run_id", arguments.run_id, arguments.dataset, arguments.operations_dataset)
    _check_names("--run", arguments.run)
    where = [condition(arguments.where)] if arguments.where else []
    where += [condition(f"error_code = '{arguments.code}'")] if arguments.code else []
    settings = ReplaySettings(
        selection=Selection(
            " AND ".join(f"({each})" for each in where),
            arguments.table,
            arguments.dataset,
            arguments.limit,
            arguments.again,
            arguments.run,
            arguments.to_topic,
        ),
        project=project,
        location=location,
        operations_dataset=arguments.operations_dataset,
        processed=folders["processed"] or "",
        dead_letters=folders["dead_letters"] or "",
        run_id=arguments.run_id,
        max_record_bytes=arguments.max_record_bytes,
    )
    _check_together(arguments)
    interruptible()
    state = RunState()
    wanted = arguments.kafka_config or arguments.to_topic or "kafka" in running_services(arguments.local_dir)
    with_kafka = arguments.local and wanted
    services = STREAM_SERVICES if with_kafka else SERVICES
    with log_waits(terminal.log), cloud(arguments.local_dir, services, terminal, local=arguments.local):
        quiet()
        storage = Storage(project)
        contracts = load_contracts(storage, arguments.contracts)
        settings = replace(settings, patch=(*arguments.patch, *_patch_file(storage, arguments.patch_file)))
        if arguments.bootstrap_servers or arguments.kafka_config or with_kafka:
            settings = replace(settings, kafka=kafka_config(arguments, storage))
        if arguments.to_topic and not arguments.dry_run:
            sent = send_to_topic(settings, contracts, terminal.log)
            print_lines(terminal.output, sent.lines())
            return 0
        if arguments.dry_run:
            print_lines(terminal.output, dry_run_lines(settings, contracts, terminal.log))
            return 0
        summary = run_replay(
            settings, contracts, terminal.log, state, lambda it: batch_progress(terminal.progress, terminal.log, it)
        )
        print_summary(terminal.output, summary.to_json())
        if arguments.summary:
            storage.write(arguments.summary, as_json(summary.to_json()))
    return EXIT_CODES[summary.state]


def _parser() -> argparse.ArgumentParser:
    command = parser(
        "replay",
        "Send dead letters through today's contracts again. What passes is written once, with its source and position;"
        " what is refused again stays, with the new reason. No dead letter is deleted.",
        "--where \"error_code = 'missing_required'\" --dry_run --local\n"
        "--where \"failed_at > '2026-01-31'\" --table orders --contracts MY_CONTRACTS --local\n"
        "--table transactions --patch \"total_amount = replace(total_amount, ',', '.')\" --dry_run --local\n"
        "--table orders --project P --location EU --processed gs://B/processed --dead_letters gs://B/dead_letters",
    )
    command.add_argument("--where", default="", help="condition on columns of dead_letters_current; default: all")
    command.add_argument("--table", help="letters of this table alone")
    command.add_argument("--run", help="letters of this run alone, or of the `last` run that refused a record")
    command.add_argument("--code", choices=[code.value for code in ErrorCode], help="letters with this code alone")
    command.add_argument(
        "--patch",
        action="append",
        default=[],
        metavar="FIELD=SQL",
        help="new value of a field of --table, from the record's fields; can be repeated",
    )
    command.add_argument(
        "--to_topic", help="send records that came from Kafka to this topic of --table's stream, which may run"
    )
    command.add_argument("--patch_file", help="file with one FIELD=SQL a line, local or gs://")
    command.add_argument("--limit", type=at_least_one, help="the newest N letters alone")
    command.add_argument("--again", action="store_true", help="also letters that are written or given up")
    command.add_argument("--dry_run", action="store_true", help="write nothing; say what passes and what does not")
    command.add_argument("--run_id", help="name of the run; repeat the name to continue the run")
    add_kafka(command)
    add_tables(command)
    add_operations(command)
    command.add_argument("--processed", help="folder for Parquet files, gs:// unless --local")
    command.add_argument("--dead_letters", help="folder for files of dead letters, gs:// unless --local")
    command.add_argument("--max_record_bytes", type=at_least_one, default=10_000_000, help="default 10000000")
    command.add_argument("--summary", help="write the summary as JSON to this file, local or gs://")
    add_place(command)
    return command


def _check_together(arguments: argparse.Namespace) -> None:
    if (arguments.patch or arguments.patch_file) and not arguments.table:
        raise UsageError("--patch: name the table whose records it corrects by --table")
    if arguments.to_topic and not arguments.table:
        raise UsageError("--to_topic: name the table that the stream writes by --table")
    if arguments.to_topic and (arguments.patch or arguments.patch_file):
        raise UsageError(
            "--to_topic: records are sent as they came, so it takes no --patch; stop the stream and replay with --patch"
        )
    if arguments.to_topic and arguments.summary:
        raise UsageError("--to_topic: what it does is in the ledger, and not in a --summary")


def _patch_file(storage: Storage, uri: str | None) -> list[str]:
    if uri is None:
        return []
    try:
        lines = patch_lines(storage.read(uri).decode())
    except (FileChanged, NotFound, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--patch_file: {uri} cannot be read: {error}") from None
    if not lines:
        raise UsageError(f"--patch_file: {uri} has no line FIELD=SQL")
    return lines


def _check_names(option: str, run_id: str | None, *datasets: str | None) -> None:
    if run_id and not RUN_ID.fullmatch(run_id):
        raise UsageError(f"{option} takes letters, digits, _ . and -, at most 100")
    for dataset in datasets:
        if dataset is not None and not DATASET.fullmatch(dataset):
            raise UsageError(f"{dataset[:80]!r} is not a dataset name: use letters, digits and _ only")
