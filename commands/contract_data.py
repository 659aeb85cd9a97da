"""The actions of `contracts` that read data: `infer` and `try`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands.arguments import add_local, at_least_one
from commands.kafka_arguments import add_kafka, kafka_config
from commands.session import cloud
from connectors.files.storage import Storage
from console.layout import columns
from console.printable import printable
from console.report import print_lines, print_rows, source_of
from console.terminal import Terminal
from contracts.errors import UsageError
from contracts.masking import Masking
from contracts.odcs.tables import load
from contracts.refusal import Refusal
from contracts.table import DEFAULT_DATASET, Table
from operations.contracts.sample import Topic
from operations.contracts.trial import Trial
from pipelines.runs.contracts import load_contracts

__all__ = ["add_infer", "add_try", "run_infer", "run_try"]

SAMPLE = 10_000
"""Records that a draft is made from."""
TRIED = 1_000
SHOWN = 5
SHOWN_CHARACTERS = 300


def add_infer(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `infer`."""
    _add_data(command, SAMPLE)
    command.add_argument("--table", help="name of the table; default: by the names of the files, or of the topic")
    command.add_argument("--dataset", help=f"BigQuery dataset of the tables; default: {DEFAULT_DATASET}")
    command.add_argument("--output", metavar="FILE", help="write the draft to this file; default: to stdout")


def add_try(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `try`."""
    command.add_argument("contract", metavar="CONTRACT", help="contract, local or gs://")
    _add_data(command, TRIED)
    command.add_argument("--table", help="the table of all files or of the topic; default: by the names of the files")


def _add_data(command: argparse.ArgumentParser, limit: int) -> None:
    add = command.add_argument
    add("paths", nargs="*", metavar="PATH", help="files or folders of files, local or gs://, in any supported format")
    add("--topic", help="a topic instead of files; it is read from its beginning, as no consumer group")
    add("--limit", type=at_least_one, default=limit, help="maximum number of records to read (default %(default)s)")
    add_kafka(command)
    add_local(command)


@contextmanager
def sampled_topic(arguments: argparse.Namespace, storage: Storage, terminal: Terminal) -> Iterator[Topic | None]:
    """Yield the topic of the arguments, None if they name files. Raises UsageError unless they name one of them."""
    if bool(arguments.paths) == bool(arguments.topic):
        raise UsageError("give files or --topic" + (", not both" if arguments.topic else ""))
    if not arguments.topic:
        if any(path.startswith("gs://") for path in arguments.paths):
            with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
                yield None
        else:
            yield None
        return
    with cloud(arguments.local_dir, ("kafka",), terminal, local=arguments.local):
        yield Topic(arguments.topic, kafka_config(arguments, storage))


def run_infer(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Write the draft of a contract to stdout, or to --output."""
    from operations.contracts.infer import draft_of
    from operations.contracts.sample import blocks_of_topic, input_files
    from operations.contracts.sampled import Sample, add_blocks, grouped, sample_of

    if arguments.output and Path(arguments.output).exists():
        raise UsageError(f"--output: {arguments.output} exists; give a new name, or remove it")
    storage = Storage()
    with sampled_topic(arguments, storage, terminal) as topic:
        if topic:
            sample = Sample(topic=True)
            add_blocks(sample, blocks_of_topic(topic, arguments.limit), arguments.limit)
            sample.complete = sample.read < arguments.limit
            samples = {arguments.table or topic.name: sample}
        else:
            files = grouped(input_files(storage, arguments.paths), arguments.paths, arguments.table)
            samples = {name: sample_of(storage, own, arguments.limit) for name, own in files.items()}
    text = draft_of(samples, dataset=arguments.dataset)
    made = load([(arguments.output or "the draft", text)]).values()
    if not arguments.output:
        print(text, end="")
        return 0
    storage.write(arguments.output, text.encode())
    counts = ", ".join(f"{table.name} ({_columns(len(table.columns))})" for table in made)
    terminal.log(f"wrote {arguments.output}: {counts}; look for `check` in its comments")
    return 0


def _columns(count: int) -> str:
    return f"{count} column" if count == 1 else f"{count} columns"


def run_try(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print what a run would make of the records; nothing is loaded."""
    from operations.contracts.sample import blocks_of_files, blocks_of_topic, files_of_tables, input_files
    from operations.contracts.trial import table_named, try_records

    storage = Storage()
    with sampled_topic(arguments, storage, terminal) as topic:
        tables = load_contracts(storage, arguments.contract)
        if topic:
            table = table_named(tables, arguments.table)
            trials = [
                (table, try_records(blocks_of_topic(topic, arguments.limit), table, arguments.limit, streamed=True))
            ]
        else:
            if len(tables) == 1 or arguments.table:
                table = table_named(tables, arguments.table)
                files = {table.name: input_files(storage, arguments.paths, table.name)}
            else:
                files = files_of_tables(storage, arguments.paths, tables)
            trials = [
                (tables[name], try_records(blocks_of_files(storage, own, tables[name]), tables[name], arguments.limit))
                for name, own in files.items()
            ]
    for number, (table, trial) in enumerate(trials):
        print_lines(terminal.output, [""] if number else [])
        _print_trial(trial, table, arguments.limit, terminal)
    return 0


def _print_trial(trial: Trial, table: Table, limit: int, terminal: Terminal) -> None:
    out, masking = terminal.output, Masking(table)
    more = f", the first ones; --limit N reads more than {limit:,}" if trial.read == limit else ""
    print_lines(out, [f"{table.name}: {trial.read:,} records read{more}; nothing is loaded"])
    doors = [("table", len(trial.rows)), ("duplicate", trial.duplicates)]
    rows = [[door, "", f"{count:,}"] for door, count in doors]
    rows += [["dead letter", code, f"{count:,}"] for code, count in trial.codes.items()] or [["dead letter", "", "0"]]
    print_lines(out, columns(("door", "code", "records"), rows, (False, False, True)))
    for source, (missing, names) in trial.missing.items():
        lacks = f"{source} lacks {', '.join(missing)}; it has {', '.join(names)}"
        print_lines(out, [f"{lacks}: {source_of(missing, names)}"])
    if trial.refused:
        print_lines(out, ["", f"the first {min(SHOWN, len(trial.refused))} dead letters:"])
        for source, refusal in trial.refused[:SHOWN]:
            print_lines(out, _refusal_lines(source, refusal, masking))
    if len(trial.rows):
        print_lines(out, [""])
        print_rows(
            out,
            f"the first {min(SHOWN, len(trial.rows))} rows:",
            list(map(masking.row, trial.rows.head(SHOWN).to_dicts())),
        )


def _refusal_lines(source: str, refusal: Refusal, masking: Masking) -> list[str]:
    raw = masking.raw(refusal.raw, refusal.attributes, truncated=refusal.truncated)
    cut = " …" if len(raw) > SHOWN_CHARACTERS else ""
    return [
        f"  {refusal.code.value}: {masking.message(refusal.code.value, refusal.field, refusal.message)}",
        f"    {source} @ {refusal.position:,}",
        f"    {printable(raw[:SHOWN_CHARACTERS])}{cut}",
    ]
