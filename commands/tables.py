"""`tables`: the tables that exist in the warehouse."""

from __future__ import annotations

from commands.arguments import add_format, add_place, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from console.printable import printable_json
from console.report import print_rows
from console.terminal import Terminal
from operations.tables import existing_tables

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "tables",
        "List the tables of the warehouse, with their rows and columns.",
        "--local\n--dataset ecommerce_data --project P --location EU",
    )
    command.add_argument("--dataset", help="only the tables of this dataset")
    add_format(command)
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "tables")
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        rows = existing_tables(Warehouse(project, location), arguments.dataset)
    if arguments.format == "json":
        print(printable_json(rows))
    else:
        print_rows(terminal.output, "", rows)
    return 0
