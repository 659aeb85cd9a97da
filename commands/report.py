"""`report`: a page on runs, records, dead letters, latency, freshness, quality and contracts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from commands.arguments import add_operations, add_place, add_tables, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from console.html import Part
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.report.figures import read_figures
from operations.report.page import page
from operations.report.server import REFRESH_SECONDS, serve
from operations.report.window import parse_since
from pipelines.runs.contracts import load_contracts

__all__ = ["run"]

PORT = 8765


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "report",
        "Write a page on runs, records by door, dead letters, latency, freshness, quality and contracts: one HTML file"
        " that needs no network. Values of classified columns are masked.",
        "--output report.html --local\n--serve --since 24h --local\n"
        "--output gs://B/report.html --since 4w --project P --location EU",
    )
    add = command.add_argument
    add("--output", metavar="FILE", help="write the page to this file, local or gs://")
    add("--serve", action="store_true", help=f"serve it at 127.0.0.1 until Ctrl-C, new every {REFRESH_SECONDS} s")
    add("--port", type=_port, help=f"of --serve (default {PORT})")
    add("--since", default="7d", help="hours, days or weeks back: 24h, 7d, 2w (default 7d)")
    add_tables(command)
    add_operations(command)
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "report")
    since = parse_since(arguments.since)
    if bool(arguments.output) == arguments.serve:
        raise UsageError("report: give --output FILE or --serve" + (", not both" if arguments.serve else ""))
    if arguments.port and not arguments.serve:
        raise UsageError("--port belongs to --serve")
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        made = _report(Warehouse(project, location), Storage(project), arguments, since)
        if arguments.serve:
            serve(made, arguments.port or PORT, terminal.log)
        else:
            _write(Storage(project), arguments.output, made())
            terminal.log(f"wrote {arguments.output}")
    return 0


def _report(
    warehouse: Warehouse, storage: Storage, arguments: argparse.Namespace, since: timedelta
) -> Callable[..., str]:
    """Return what makes the page, with remarks below its title, of that moment. The contracts are read now."""
    tables = load_contracts(storage, arguments.contracts)
    datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}

    def made(*remarks: Part) -> str:
        now = datetime.now(UTC)
        figures = read_figures(warehouse, arguments.operations_dataset, tables, datasets, now - since, now)
        return page(figures, *remarks)

    return made


def _write(storage: Storage, output: str, content: str) -> None:
    """Write the file. Raises UsageError if it cannot be written."""
    if output.startswith("gs://"):
        storage.write(output, content.encode())
        return
    try:
        Path(output).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written: {error.strerror}; name another file") from None


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 1 to 65535")
    return int(text)
