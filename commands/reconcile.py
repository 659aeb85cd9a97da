"""`reconcile`: whether the ledger, the tables, the dead letters and the files agree."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from commands.arguments import add_format, add_operations, add_place, add_tables, at_least_one, parser, place
from commands.kafka_arguments import add_kafka, kafka_config, kafka_servers
from commands.local_settings import LOCAL_FOLDERS
from commands.process_state import interruptible, quiet
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import kept_since
from connectors.bookkeeping.ledger import OFFSETS
from connectors.bookkeeping.line_sums import DOORS
from connectors.files.storage import Storage
from console.printable import printable_json
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.reconcile.comparison import Answer, Scope, Topics, compare
from operations.reconcile.findings import Finding
from operations.reconcile.lines import Line
from operations.reconcile.repair import Folders, Plan, planned
from operations.reconcile.topics import TopicRecount
from pipelines.runs.contracts import check_table, load_contracts
from pipelines.runs.exit_codes import EXIT_CODES
from pipelines.runs.required import check_required
from transforms.ledger import State

__all__ = ["run"]

DAYS = 30
DEEP_RECORDS = 10_000
ALL = 0
"""The number that `--deep all` stands for."""


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    project, location = place(arguments, "reconcile")
    folders = _folders(arguments)
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        scope = _scope(arguments, Storage(project), Warehouse(project, location), terminal)
        topics = _topics(arguments, terminal, scope.storage)
        answer = compare(scope, topics, terminal.log)
        if folders and _repaired(planned(scope, answer, folders), terminal, ask=not arguments.yes):
            answer = compare(scope, topics, terminal.log)
    if arguments.format == "json":
        print(printable_json([finding.row() for finding in answer.findings]))
    else:
        print_lines(terminal.output, _said(answer.findings))
        print_lines(terminal.output, _compared(answer, bool(arguments.table)))
        print_lines(terminal.output, _read_again(answer.lines, answer.topics))
    return EXIT_CODES[State.LEDGER_BROKEN] if answer.findings else 0


def _parser() -> argparse.ArgumentParser:
    command = parser(
        "reconcile",
        "Prove that nothing is lost and nothing is doubled, from outside: count the rows, the dead letters and the\n"
        "records of the files again, and compare them with the ledger. Exit code 3 if anything contradicts it.",
        "--local\n--table customers --days 2 --local\n--deep --table customers --local\n"
        "--repair --yes --table customers --local\n"
        "--no_files --format json --project P --location EU",
    )
    add = command.add_argument
    add("--run", help="only what is about this run")
    add("--table", help="only this table")
    add("--days", type=at_least_one, default=DAYS, help=f"what the last DAYS days have written (default {DAYS})")
    files = command.add_mutually_exclusive_group()
    files.add_argument("--no_files", action="store_true", help="do not read the files again")
    files.add_argument(
        "--deep",
        nargs="?",
        type=_sample,
        const=DEEP_RECORDS,
        metavar="N|all",
        help="also compare values: read N records of the files of each table again, one by one, or all (default"
        f" {DEEP_RECORDS})",
    )
    add("--repair", action="store_true", help="do what is safe, then compare again; asks before it changes anything")
    add("--yes", action="store_true", help="do not ask; a program needs it")
    add("--processed", help="folder for Parquet files of a repair, gs:// unless --local")
    add("--dead_letters", help="folder for files of dead letters of a repair, gs:// unless --local")
    add("--no_topics", action="store_true", help="do not read the topics again")
    add_kafka(command)
    add_tables(command)
    add_operations(command)
    add_format(command)
    add_place(command)
    return command


def _sample(text: str) -> int:
    """Parse a number of records, or `all`."""
    return ALL if text == "all" else at_least_one(text)


def _scope(arguments: argparse.Namespace, storage: Storage, warehouse: Warehouse, terminal: Terminal) -> Scope:
    tables = load_contracts(storage, arguments.contracts)
    if arguments.table:
        check_table("--table", arguments.table, tables)
        tables = {arguments.table: tables[arguments.table]}
    return Scope(
        warehouse=warehouse,
        storage=storage,
        operations_dataset=arguments.operations_dataset,
        tables=tables,
        datasets={name: arguments.dataset or table.dataset for name, table in tables.items()},
        since=_since(arguments, warehouse, terminal),
        run=arguments.run,
        files=not arguments.no_files,
        values=arguments.deep is not None,
        sample=arguments.deep or None,
    )


def _since(arguments: argparse.Namespace, warehouse: Warehouse, terminal: Terminal) -> datetime:
    """Return the first moment that is compared: before it, the ledger or the dead letters may have expired."""
    now = datetime.now(UTC)
    asked, kept = now - timedelta(days=arguments.days), kept_since(warehouse, arguments.operations_dataset, now)
    if kept is None or kept <= asked:
        return asked
    terminal.log(f"{arguments.operations_dataset} is kept for a limited time: comparing what is since {kept:%Y-%m-%d}")
    return kept


def _folders(arguments: argparse.Namespace) -> Folders | None:
    """Return where a repair writes; None if nothing is repaired. Raises UsageError if it could not ask or write."""
    if not arguments.repair:
        return None
    if not (arguments.yes or sys.stdin.isatty()):
        raise UsageError("--repair asks before it changes anything, and nobody can answer here: give --yes")
    folders = {name: getattr(arguments, name) for name in ("processed", "dead_letters")}
    if arguments.local:
        folders = {name: folder or LOCAL_FOLDERS[name] for name, folder in folders.items()}
    check_required({f"--{name}": folder for name, folder in folders.items()}, ": gs:// folders, as for batch")
    return Folders(**folders, contracts=arguments.contracts, dataset=arguments.dataset)


def _repaired(plan: Plan, terminal: Terminal, *, ask: bool) -> bool:
    """Do what is planned, if it may be done; return whether anything was done."""
    for finding in plan.left:
        terminal.log(f"not repaired: {finding.code.value} in {finding.table} {finding.source}".rstrip())
        terminal.log(f"  {finding.fix}")
    for repair in plan.repairs:
        terminal.log(f"repair: {repair.said}")
    if not plan.repairs:
        terminal.log("there is nothing that can be repaired safely")
        return False
    if ask and terminal.progress.input("do it? [y/N] ").strip().lower() not in ("y", "yes"):
        return False
    interruptible()
    quiet()
    for repair in plan.repairs:
        terminal.log(f"repairing: {repair.said}")
        repair.do(terminal.log)
    return True


def _topics(arguments: argparse.Namespace, terminal: Terminal, storage: Storage) -> Topics:
    @contextmanager
    def topics(lines: Sequence[Line]) -> Iterator[TopicRecount | None]:
        """Yield what counts topics again; None if no line is about a topic, or nobody says where Kafka is."""
        if arguments.no_topics or not any(line.kind == OFFSETS for line in lines):
            yield None
            return
        with cloud(arguments.local_dir, ("kafka",), terminal, local=arguments.local):
            yield TopicRecount(kafka_config(arguments, storage)) if kafka_servers(arguments) else None

    return topics


def _said(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        about = " ".join(part for part in (finding.source, finding.run and f"(run {finding.run})") if part)
        first = f", first at position {finding.position}, {finding.column}" if finding.position is not None else ""
        sides = (_side(side) for side in (finding.expected, finding.found))
        differ = "" if finding.expected is None else ": expected {}, found {}".format(*sides)
        where = f"{finding.table} {about}".rstrip()
        lines.append(f"{finding.code.value}  {finding.count:,} in {where}{first}{differ}")
        lines.append(f"  {finding.fix}")
    return lines


def _side(side: int | str | None) -> str:
    return f"{side:,}" if isinstance(side, int) else str(side)


def _compared(answer: Answer, one_table: bool) -> list[str]:
    """Say what was compared, and what was not."""
    lines, books, recount = answer.lines, answer.books, answer.recount
    read, written, duplicate, dead = (sum(getattr(line, door) for line in lines) for door in DOORS)
    said = [
        f"{len(lines):,} sources: read {read:,} = written {written:,} + duplicate {duplicate:,} + dead letter {dead:,}",
        f"files counted again: {recount.read:,}",
    ]
    if answer.values:
        said.append(f"values compared of {answer.values.rows:,} rows and {answer.values.letters:,} dead letters")
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
