"""The actions of `contracts` that read data: `try`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from commands.arguments import add_local, at_least_one
from commands.session import cloud
from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from console.layout import columns
from console.printable import printable
from console.report import print_lines, print_rows
from console.terminal import Terminal
from contracts.errors import UsageError
from contracts.refusal import Refusal
from operations.contracts.sample import Topic
from operations.contracts.trial import Trial
from pipelines.runs.contracts import load_contracts

__all__ = ["add_data_arguments", "run_try"]

SAMPLE = 1_000
SHOWN = 5
SHOWN_BYTES = 300


def add_data_arguments(command: argparse.ArgumentParser, *, with_contract: bool) -> None:
    """Add the arguments that name a contract, and files or a topic."""
    add = command.add_argument
    if with_contract:
        add("contract", metavar="CONTRACT", help="contract, local or gs://")
        add("--table", help="table of the contract, if it has several")
    add("paths", nargs="*", metavar="PATH", help="files or folders of files, local or gs://, in any supported format")
    add("--topic", help="a topic instead of files; it is read from its beginning, as no consumer group")
    add("--limit", type=at_least_one, default=SAMPLE, help="maximum number of records to read (default %(default)s)")
    add("--bootstrap_servers", help="HOST:PORT,… of Kafka; default with --local: the broker of this machine")
    add("--kafka_config", help="file of Java client properties: TLS, SASL; secrets as env:NAME, file:PATH, secret:…")
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
        servers = arguments.bootstrap_servers or (os.environ["KAFKA_BOOTSTRAP_SERVERS"] if arguments.local else None)
        yield Topic(arguments.topic, KafkaConfig.load(servers, arguments.kafka_config, storage.read))


def run_try(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print what a run would make of the records; nothing is loaded."""
    from operations.contracts.sample import blocks_of_files, blocks_of_topic, input_files
    from operations.contracts.trial import table_named, try_records

    storage = Storage()
    with sampled_topic(arguments, storage, terminal) as topic:
        table = table_named(load_contracts(storage, arguments.contract), arguments.table)
        if topic:
            blocks = blocks_of_topic(topic, arguments.limit)
        else:
            blocks = blocks_of_files(storage, input_files(storage, arguments.paths, table.name), table)
        trial = try_records(blocks, table, arguments.limit, streamed=topic is not None)
    _print_trial(trial, table.name, arguments.limit, terminal)
    return 0


def _print_trial(trial: Trial, table: str, limit: int, terminal: Terminal) -> None:
    out = terminal.output
    more = f", the first ones; --limit N reads more than {limit:,}" if trial.read == limit else ""
    print_lines(out, [f"{table}: {trial.read:,} records read{more}; nothing is loaded"])
    doors = [("table", len(trial.rows)), ("duplicate", trial.duplicates)]
    rows = [[door, "", f"{count:,}"] for door, count in doors]
    rows += [["dead letter", code, f"{count:,}"] for code, count in trial.codes.items()] or [["dead letter", "", "0"]]
    print_lines(out, columns(("door", "code", "records"), rows, (False, False, True)))
    for source, (missing, names) in trial.missing.items():
        print_lines(
            out,
            [
                f"{source} lacks {', '.join(missing)}; it has {', '.join(names)}: name the field as the column's"
                " name or source in the contract"
            ],
        )
    if trial.refused:
        print_lines(out, ["", f"the first {min(SHOWN, len(trial.refused))} dead letters:"])
        for source, refusal in trial.refused[:SHOWN]:
            print_lines(out, _refusal_lines(source, refusal))
    if len(trial.rows):
        print_lines(out, [""])
        print_rows(out, f"the first {min(SHOWN, len(trial.rows))} rows:", trial.rows.head(SHOWN).to_dicts())


def _refusal_lines(source: str, refusal: Refusal) -> list[str]:
    raw = refusal.raw[:SHOWN_BYTES].decode(errors="backslashreplace")
    cut = " …" if len(refusal.raw) > SHOWN_BYTES else ""
    return [
        f"  {refusal.code.value}: {refusal.message}",
        f"    {source} @ {refusal.position:,}",
        f"    {printable(raw)}{cut}",
    ]
