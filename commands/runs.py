"""`runs`: the runs that the ledger knows, or one of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from commands.arguments import add_format, add_operations, add_place, at_least_one, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from console.printable import printable_json
from console.report import plain_times, print_rows
from console.terminal import Terminal
from operations.runs import about_run, recent_runs

__all__ = ["run"]

DAYS, SHOWN = 30, 20


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "runs",
        "List the newest runs of batches, streams and replays, or show one: state, times, records by door and source.",
        "--local\n--days 2 --format json --project P --location EU\nRUN_ID --project P --location EU",
    )
    add = command.add_argument
    add("run_id", nargs="?", help="a run; default: the newest runs")
    add("--days", type=at_least_one, default=DAYS, help=f"lines of the last DAYS days (default {DAYS})")
    add("--limit", type=at_least_one, default=SHOWN, help=f"maximum number of runs (default {SHOWN})")
    add_operations(command)
    add_format(command)
    add_place(command)
    arguments = command.parse_intermixed_args(argv)
    project, location = place(arguments, "runs")
    about = None
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        warehouse, dataset = Warehouse(project, location), arguments.operations_dataset
        since = datetime.now(UTC) - timedelta(days=arguments.days)
        if arguments.run_id:
            about, lines = about_run(warehouse, dataset, arguments.run_id, since)
        else:
            lines = recent_runs(warehouse, dataset, since, arguments.limit)
    if arguments.format == "json":
        print(printable_json({**about, "sources": lines} if about else lines, _plain))
        return 0
    if about:
        print_rows(terminal.output, "", [plain_times(about)])
        print_rows(terminal.output, "", lines)
    else:
        print_rows(terminal.output, "", list(map(_short, lines)))
    return 0


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fits a terminal of 80 columns: the whole is in `runs RUN_ID` and in JSON."""
    return {
        "run": row["run"],
        "state": row["state"],
        "began": f"{row['began'].astimezone(UTC):%m-%d %H:%M}",
        **{name.replace("_", " "): row[name] for name in ("read", "written", "dead_letter")},
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
