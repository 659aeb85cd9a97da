"""`sla`: whether the tables keep the service levels of their contracts."""

from __future__ import annotations

from commands.arguments import add_format, add_place, add_tables, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from console.printable import printable_json
from console.report import print_rows
from console.terminal import Terminal
from contracts.service_levels import Outcome
from operations.service_levels import measured_levels
from pipelines.runs.contracts import load_contracts
from pipelines.runs.exit_codes import EXIT_CODES
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "sla",
        "Measure latency and freshness of the tables, as slaProperties of their contracts state them.\n"
        "Exit code 6 if one is not kept, or cannot be measured.",
        "--contracts contracts --local\n--contracts gs://B/contracts --format json --project P --location EU",
    )
    add_tables(command)
    add_format(command)
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "sla")
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        tables = load_contracts(Storage(project), arguments.contracts)
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        measured = measured_levels(Warehouse(project, location), tables.values(), datasets)
    rows = [each.row() for each in measured]
    if arguments.format == "json":
        print(printable_json(rows))
    elif rows:
        print_rows(terminal.output, "", rows)
    else:
        terminal.log("no contract has slaProperties latency or freshness")
    kept = all(each.outcome is Outcome.KEPT for each in measured)
    return 0 if kept else EXIT_CODES[State.QUALITY_BROKEN]
