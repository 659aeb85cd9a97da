"""`query`: a question to the warehouse."""

from __future__ import annotations

from commands.arguments import add_place, parser, place
from commands.session import cloud, output
from connectors.warehouse import Warehouse
from operations.query import FORMATS, query

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    command = parser(
        "query", "Ask the warehouse.",
        '"SELECT * FROM pipeline_operations.ledger_current" --local\n"SELECT 1" --format csv --project P --location EU',
    )  # fmt: skip
    command.add_argument("sql", help="a statement in GoogleSQL")
    command.add_argument("--format", choices=FORMATS, default="table")
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "query")
    with cloud(arguments.local, arguments.local_dir):
        query(Warehouse(project, location), arguments.sql, arguments.format, output)
    return 0
