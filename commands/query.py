"""`query`: a question to the warehouse."""

from __future__ import annotations

from commands.arguments import add_place, at_least_one, local_dir_option, parser, place
from commands.session import SERVICES, cloud, running_services
from connectors.bigquery.warehouse import Warehouse
from console.terminal import Terminal
from operations.query import FORMATS, SHOWN_ROWS, ask, print_answer

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "query",
        "Ask the warehouse.",
        '"SELECT * FROM pipeline_operations.ledger_current" --local\n"SELECT 1" --format csv --project P --location EU',
    )
    command.add_argument("sql", help="a statement in GoogleSQL")
    command.add_argument("--format", choices=FORMATS, default="table", help="for a person or for a program")
    command.add_argument(
        "--limit",
        type=at_least_one,
        help=f"maximum number of rows (default {SHOWN_ROWS} for a table, all for json and csv)",
    )
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "query")
    kept = not arguments.local or set(SERVICES) <= set(running_services(arguments.local_dir))
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        with terminal.waiting("waiting for BigQuery"):
            answer = ask(Warehouse(project, location), arguments.sql, arguments.format, arguments.limit)
        print_answer(answer, arguments.format, terminal.output)
    if not kept and terminal.progress.is_terminal:
        terminal.log(f"faster next time: launcher.py local up{local_dir_option(arguments.local_dir)}")
    return 0
