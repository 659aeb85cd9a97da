"""`reconcile`: whether the ledger, the tables, the dead letters and the files agree."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from commands.arguments import add_format, add_operations, add_place, add_tables, at_least_one, parser, place
from commands.kafka_arguments import add_kafka, kafka_config, kafka_servers
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import OFFSETS
from connectors.bookkeeping.line_sums import DOORS
from connectors.files.storage import Storage
from console.printable import printable_json
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.reconcile.books import Books
from operations.reconcile.findings import Finding
from operations.reconcile.lines import Line
from operations.reconcile.recount import Recount
from operations.reconcile.topics import TopicRecount
from pipelines.runs.contracts import check_table, load_contracts
from pipelines.runs.exit_codes import EXIT_CODES
from transforms.ledger import State

__all__ = ["run"]

DAYS = 30


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "reconcile",
        "Prove that nothing is lost and nothing is doubled, from outside: count the rows, the dead letters and the\n"
        "records of the files again, and compare them with the ledger. Exit code 3 if anything contradicts it.",
        "--local\n--table customers --days 2 --local\n--no_files --format json --project P --location EU",
    )
    add = command.add_argument
    add("--run", help="only what is about this run")
    add("--table", help="only this table")
    add("--days", type=at_least_one, default=DAYS, help=f"what the last DAYS days have written (default {DAYS})")
    add("--no_files", action="store_true", help="do not read the files again")
    add("--no_topics", action="store_true", help="do not read the topics again")
    add_kafka(command)
    add_tables(command)
    add_operations(command)
    add_format(command)
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "reconcile")
    since, operations = datetime.now(UTC) - timedelta(days=arguments.days), arguments.operations_dataset
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        storage, warehouse = Storage(project), Warehouse(project, location)
        tables = load_contracts(storage, arguments.contracts)
        if arguments.table:
            check_table("--table", arguments.table, tables)
            tables = {arguments.table: tables[arguments.table]}
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        books = Books(warehouse, operations, tables, datasets, since)
        lines = [line for line in books.lines if arguments.run in (None, line.run)]
        if not lines:
            of_run = f" of run {arguments.run}" if arguments.run else ""
            raise UsageError(
                f"the ledger in {operations} has no line{of_run} about these tables since {since:%Y-%m-%d};"
                " launcher.py runs lists the runs, --days N looks further back"
            )
        terminal.log(f"comparing {len(lines):,} sources with the tables and the dead letters")
        found = list(books.findings())
        recount = Recount(storage)
        if not arguments.no_files:
            terminal.log("counting the records of the files again")
            found += recount.findings(lines, tables)
        with _topics(arguments, terminal, storage, lines) as topics:
            if topics:
                terminal.log(f"counting the records of the topics at {topics.config.bootstrap_servers} again")
                found += topics.findings(lines, warehouse, operations, since)
    findings = [finding for finding in found if arguments.run in (None, finding.run)]
    if arguments.format == "json":
        print(printable_json([finding.row() for finding in findings]))
    else:
        print_lines(terminal.output, _said(findings))
        print_lines(terminal.output, _compared(lines, books, recount, bool(arguments.table)))
        print_lines(terminal.output, _read_again(lines, topics))
    return EXIT_CODES[State.LEDGER_BROKEN] if findings else 0


@contextmanager
def _topics(
    arguments: argparse.Namespace, terminal: Terminal, storage: Storage, lines: Sequence[Line]
) -> Iterator[TopicRecount | None]:
    """Yield what counts topics again; None if no line is about a topic, or nobody says where Kafka is."""
    if arguments.no_topics or not any(line.kind == OFFSETS for line in lines):
        yield None
        return
    with cloud(arguments.local_dir, ("kafka",), terminal, local=arguments.local):
        yield TopicRecount(kafka_config(arguments, storage)) if kafka_servers(arguments) else None


def _said(findings: list[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        about = " ".join(part for part in (finding.source, finding.run and f"(run {finding.run})") if part)
        sides = "" if finding.expected is None else f": expected {finding.expected:,}, found {finding.found:,}"
        where = f"{finding.table} {about}".rstrip()
        lines.append(f"{finding.code.value}  {finding.count:,} in {where}{sides}")
        lines.append(f"  {finding.fix}")
    return lines


def _compared(lines: Sequence[Line], books: Books, recount: Recount, one_table: bool) -> list[str]:
    """Say what was compared, and what was not."""
    read, written, duplicate, dead = (sum(getattr(line, door) for line in lines) for door in DOORS)
    said = [
        f"{len(lines):,} sources: read {read:,} = written {written:,} + duplicate {duplicate:,} + dead letter {dead:,}",
        f"files counted again: {recount.read:,}",
    ]
    if recount.gone:
        said.append(f"files that are gone or have changed since: {len(recount.gone):,}")
    if books.estimated:
        said.append(f"not compared, for parts of their lines were read again: {', '.join(books.estimated)}")
    if books.elsewhere and not one_table:
        said.append(f"not compared, of other datasets or contracts: {', '.join(books.elsewhere)}")
    return said


def _read_again(lines: Sequence[Line], topics: TopicRecount | None) -> list[str]:
    """Say what was read of the topics."""
    if not any(line.kind == OFFSETS for line in lines):
        return []
    if topics is None:
        return ["topics were not read again; --bootstrap_servers says where they are"]
    said = [f"partitions of topics counted again: {topics.read:,}, with {topics.records:,} records"]
    if topics.waiting:
        said.append(f"offsets behind the last line, which no run has read yet: {topics.waiting:,}")
    return said + [f"not counted again: {source}, for {why}" for source, why in sorted(topics.left_out.items())]
