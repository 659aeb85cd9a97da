"""`dead-letters`: list them, show one, send them again, give them up."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from commands import replay as replay_command
from commands.arguments import add_format, add_operations, add_place, add_tables, at_least_one, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import check_letters
from connectors.files.storage import Storage
from console.printable import printable_json
from console.report import plain_times, print_lines, print_rows
from console.terminal import Terminal
from contracts.errors import UsageError
from contracts.masking import Masking
from contracts.refusal import ErrorCode
from contracts.table import Table
from operations.dead_letters import Letters
from pipelines.replay.where import condition
from pipelines.runs.contracts import load_contracts

__all__ = ["ACTIONS", "run"]

ACTIONS = ("list", "show", "retry", "give-up")
DAYS, SHOWN = 30, 20


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    if argv[:1] == ["retry"]:  # the everyday name of replay
        return replay_command.run(argv[1:], terminal)
    arguments = _parser().parse_intermixed_args(argv)
    if (arguments.action == "show") != bool(arguments.dead_letter):
        raise UsageError("dead-letters show takes one id, or its beginning; list takes none")
    project, location = place(arguments, "dead-letters")
    where = condition(arguments.where) if arguments.where else ""
    if arguments.action == "give-up" and not (where or arguments.run or arguments.table or arguments.code):
        raise UsageError("dead-letters give-up: say which, by --run, --table, --code or --where")
    counts: list[dict[str, Any]] = []
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        warehouse, operations = Warehouse(project, location), arguments.operations_dataset
        check_letters(warehouse, operations)
        contracts = load_contracts(Storage(project), arguments.contracts)
        letters = Letters(
            warehouse=warehouse,
            operations=operations,
            tables={
                name: replace(table, dataset=arguments.dataset or table.dataset) for name, table in contracts.items()
            },
            since=datetime.now(UTC) - timedelta(days=arguments.days),
            where=where,
            run=arguments.run,
            table=arguments.table,
            code=arguments.code,
        )
        if arguments.action == "give-up":
            given_up = letters.give_up()
            print_lines(terminal.output, [f"{given_up:,} dead letters are given up; replay --again sends them"])
            return 0
        if arguments.action == "show":
            rows = [letters.one(arguments.dead_letter)]
        else:
            counts = letters.by_code()
            rows = letters.newest(arguments.limit)
    rows = [_as_stored(row) if arguments.unmasked else _masked(row, contracts) for row in rows]
    if arguments.format == "json":
        print(printable_json(rows, _plain))
        return 0
    if counts:
        print_rows(terminal.output, "", list(map(plain_times, counts)))
    print_rows(
        terminal.output, "", [_shortened(row) if arguments.action == "list" else plain_times(row) for row in rows]
    )
    total = sum(row["letters"] for row in counts)
    if total > len(rows):
        print_lines(terminal.output, [f"the newest {len(rows):,} of {total:,}; --limit N shows more"])
    return 0


def _parser() -> argparse.ArgumentParser:
    command = parser(
        "dead-letters",
        "List the records that were refused, show one whole, send them through today's contracts again (retry, which"
        " takes the options of replay), or give them up: replay leaves those out.",
        "list --run last --local\nlist --table customers --code wrong_type --local\n"
        "retry --run last --dry_run --local\ngive-up --run last --code invalid_encoding --local\n"
        "show ID --project P --location EU",
    )
    add = command.add_argument
    add("action", choices=ACTIONS, help="what to do")
    add("dead_letter", nargs="?", metavar="ID", help="of show: the id of one, or its beginning")
    add("--run", help="those of a run, or of the `last` run that had one")
    add("--table", help="those of a table")
    add("--code", choices=[code.value for code in ErrorCode], help="those with an error code")
    add("--days", type=at_least_one, default=DAYS, help=f"those refused in the last DAYS days (default {DAYS})")
    add("--where", help="condition on columns of dead_letters_current")
    add("--limit", type=at_least_one, default=SHOWN, help=f"maximum number (default {SHOWN})")
    add("--unmasked", action="store_true", help="show the values of classified columns, too")
    add_tables(command)
    add_operations(command)
    add_format(command)
    add_place(command)
    return command


def _masked(row: Mapping[str, Any], contracts: Mapping[str, Table]) -> dict[str, Any]:
    return Masking(contracts.get(row["table"])).letter(row)


def _as_stored(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "raw": row["raw"].decode(errors="backslashreplace")} if "raw" in row else dict(row)


def _shortened(row: Mapping[str, object]) -> dict[str, object]:
    return {**plain_times(row), "dead_letter_id": str(row["dead_letter_id"])[:12]}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
