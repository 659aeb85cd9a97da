"""The actions of `contracts` that read contracts alone: `show`, `diff` and `export`."""

from __future__ import annotations

import argparse

from connectors.files.storage import Storage
from console.report import print_lines, print_rows
from console.terminal import Terminal
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.runs.contracts import load_contracts

__all__ = ["EXPORTS", "add_diff", "add_export", "add_show", "run_diff", "run_export", "run_show"]

EXPORTS = ("json-schema", "bigquery", "avro", "html", "dbt")


def add_show(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    command.add_argument(
        "contract", nargs="?", metavar="CONTRACT", help="contract, folder or glob; default: the shipped ones"
    )
    command.add_argument("--table", help="only this table")


def add_diff(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `diff`."""
    command.add_argument("old", metavar="OLD", help="contract, folder or glob, local or gs://, that runs have used")
    command.add_argument("new", metavar="NEW", help="the same after the change")


def add_export(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add_show(command)
    command.add_argument("--format", choices=EXPORTS, required=True, help="language to write")
    command.add_argument("--output", metavar="FILE", help="write to this file; default: to stdout")


def run_show(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print the tables: what identifies a row, the layout, and each column with its rules."""
    from contracts.odcs.documentation import COLUMN_HEAD, column_cells, facts

    for number, table in enumerate(_tables(arguments)):
        lines = [*([""] if number else []), table.name, *([table.description] if table.description else [])]
        print_lines(
            terminal.output, [*lines, f"dataset {table.dataset}; {'; '.join(_plain(each) for each in facts(table))}"]
        )
        rows = [dict(zip(COLUMN_HEAD, map(_plain, cells), strict=True)) for cells in column_cells(table)]
        print_rows(terminal.output, "", rows)
        print_lines(terminal.output, [f"note: {note}" for note in table.notes])
    return 0


def run_diff(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Print how each table changes; return 1 if the next run would refuse a change."""
    from operations.contracts.differences import Change, differences

    storage = Storage()
    found = differences(load_contracts(storage, arguments.old), load_contracts(storage, arguments.new))
    for difference in found:
        print_lines(terminal.output, [f"{difference.table}: {difference.change.value}"])
        print_lines(terminal.output, [f"  {reason}" for reason in difference.reasons])
    return int(any(difference.change is Change.BREAKING for difference in found))


def run_export(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Write the tables in the language of another tool."""
    from operations.contracts.exported import exported

    text = exported(arguments.format, _tables(arguments))
    if arguments.output:
        Storage().write(arguments.output, text.encode())
        terminal.log(f"wrote {arguments.output}")
    else:
        print(text, end="")
    return 0


def _tables(arguments: argparse.Namespace) -> list[Table]:
    tables = load_contracts(Storage(), arguments.contract)
    if arguments.table is None:
        return list(tables.values())
    if arguments.table not in tables:
        raise UsageError(f"--table {arguments.table}: there is no such table; there are {', '.join(tables)}")
    return [tables[arguments.table]]


def _plain(text: str) -> str:
    return text.replace("`", "")
