"""`contracts`: tools for contracts, from the first sample of data to a change."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping

from commands.arguments import parser
from commands.contract_data import add_infer, add_try, run_infer, run_try
from commands.contract_views import add_diff, add_export, add_show, run_diff, run_export, run_show
from connectors.files.storage import Storage
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError

__all__ = ["ACTIONS", "run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    if argv and argv[0] in ACTIONS:
        description, examples, add, act = ACTIONS[argv[0]]
        command = parser(f"contracts {argv[0]}", description, examples)
        add(command)
        return act(command.parse_args(argv[1:]), terminal)
    examples = "\n".join(f"{name} {each[1].splitlines()[0]}" for name, each in ACTIONS.items())
    command = parser("contracts", "Tools for contracts. Nothing of them loads data.", examples)
    texts = "; ".join(f"{name}: {each[0][0].lower()}{each[0][1:].rstrip('.')}" for name, each in ACTIONS.items())
    command.add_argument("action", metavar="ACTION", help=f"{texts}. contracts ACTION --help has its options")
    arguments, _ = command.parse_known_args(argv)
    near = difflib.get_close_matches(arguments.action, ACTIONS, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"contracts: unknown action {arguments.action!r}{meant}; there are {', '.join(ACTIONS)}")


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "paths", nargs="*", metavar="PATH", help="contract, folder or glob, local or gs://; default: the shipped ones"
    )


def _check(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from operations.contracts.check import check_contracts

    checked = check_contracts(Storage(), arguments.paths)
    for table in checked.tables.values():
        print_lines(terminal.output, [f"ok  {table.name}: {_count(len(table.columns), 'column')}"])
        print_lines(terminal.output, [f"    note: {note}" for note in table.notes])
    tests = f"{_count(checked.tests, 'test')} passed" if checked.tests else "there are no tests"
    print_lines(terminal.output, [f"{_count(len(checked.tables), 'table')}; {tests}"])
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


Action = tuple[str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace, Terminal], int]]
ACTIONS: Mapping[str, Action] = {
    "check": (
        "Report all problems of contracts, each with its line, and run the tests next to them.",
        "MY_CONTRACTS\nMY_CONTRACTS/rides.odcs.yaml gs://B/contracts\n",
        _add_check,
        _check,
    ),
    "show": (
        "Show tables: keys, layout, and each column with its rules.",
        "MY_CONTRACTS\n--table customers",
        add_show,
        run_show,
    ),
    "infer": (
        "Draft a contract from sample files or a topic, with the evidence for each line as a comment.",
        "MY_FOLDER --output bikes.odcs.yaml\nrides.csv --limit 100000\n--topic bike-events --local",
        add_infer,
        run_infer,
    ),
    "try": (
        "Show what a run would make of data: rows, duplicates and dead letters.",
        "MY_CONTRACTS/orders.odcs.yaml MY_FOLDER/orders.csv\n"
        "MY_CONTRACTS/rides.odcs.yaml --topic bike-events --limit 5000 --local",
        add_try,
        run_try,
    ),
    "diff": (
        "Say what a change of contracts does to their tables, as the next run decides it. Exit code 1: it is refused.",
        "OLD_CONTRACTS MY_CONTRACTS",
        add_diff,
        run_diff,
    ),
    "export": (
        "Write tables as JSON Schema, BigQuery's DDL, Avro schema, HTML page or sources of dbt.",
        "MY_CONTRACTS/rides.odcs.yaml --format json-schema\nMY_CONTRACTS --format html --output tables.html",
        add_export,
        run_export,
    ),
}
"""By name: description, examples, what adds its arguments, and what runs it."""
