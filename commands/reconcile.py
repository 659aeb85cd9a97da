"""`reconcile`: whether the ledger, the tables, the dead letters and the files agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from commands.arguments import add_place, at_least_one, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from console.printable import printable_json
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.reconcile.books import Books
from operations.reconcile.findings import Finding
from operations.reconcile.lines import Scope
from operations.reconcile.recount import Recount
from pipelines.runs.contracts import load_contracts
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
    add("--run", help="only the lines of this run")
    add("--table", help="only this table")
    add("--days", type=at_least_one, default=DAYS, help=f"what the last DAYS days have written (default {DAYS})")
    add("--no_files", action="store_true", help="do not read the files again")
    add("--contracts", help="folder or glob of *.odcs.yaml; default: the contracts of this package")
    add("--dataset", help="dataset of the tables; default: the dataset that each contract names")
    add("--operations_dataset", default="pipeline_operations", help="default pipeline_operations")
    add("--format", choices=("table", "json"), default="table", help="for a person or for a program")
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "reconcile")
    scope = Scope(datetime.now(UTC) - timedelta(days=arguments.days), arguments.run, arguments.table)
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        storage, warehouse = Storage(project), Warehouse(project, location)
        tables = load_contracts(storage, arguments.contracts)
        if scope.table is not None and scope.table not in tables:
            raise UsageError(f"--table: no contract has a table {scope.table}; there are {', '.join(sorted(tables))}")
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        books = Books(warehouse, arguments.operations_dataset, tables, datasets, scope)
        if not books.lines:
            raise UsageError(
                f"the ledger in {arguments.operations_dataset} has no line"
                + (f" of run {scope.run}" if scope.run else "")
                + f" since {scope.since:%Y-%m-%d}; launcher.py runs lists the runs, --days N looks further back"
            )
        terminal.log(f"comparing {len(books.lines):,} sources with the tables and the dead letters")
        findings = list(books.findings())
        recount = Recount(storage)
        if not arguments.no_files:
            terminal.log("counting the records of the files again")
            findings += recount.findings(books.lines, tables)
    if arguments.format == "json":
        print(printable_json([finding.row() for finding in findings]))
    else:
        print_lines(terminal.output, _said(findings))
        print_lines(terminal.output, _compared(books, recount))
    return EXIT_CODES[State.LEDGER_BROKEN] if findings else 0


def _said(findings: list[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        about = " ".join(part for part in (finding.source, finding.run and f"(run {finding.run})") if part)
        sides = "" if finding.expected is None else f": expected {finding.expected:,}, found {finding.found:,}"
        where = f"{finding.table} {about}".rstrip()
        lines.append(f"{finding.code.value}  {finding.count:,} in {where}{sides}")
        lines.append(f"  {finding.fix}")
    return lines


def _compared(books: Books, recount: Recount) -> list[str]:
    read, written, duplicate, dead = (
        sum(getattr(line, door) for line in books.lines) for door in ("read", "written", "duplicate", "dead_letter")
    )
    lines = [
        f"{len(books.lines):,} sources: read {read:,} = written {written:,} + duplicate {duplicate:,} + dead letter"
        f" {dead:,}",
        f"files counted again: {recount.read:,}",
    ]
    if recount.gone:
        lines.append(f"files that are gone or have changed since: {len(recount.gone):,}")
    return lines
