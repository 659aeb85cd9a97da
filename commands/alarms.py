"""`alarms`: what a person must look at, and `--notify` to send it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from commands.arguments import add_format, add_operations, add_place, add_tables, at_least_one, parser, place
from commands.notices import DAYS
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.notices import Notices
from connectors.files.storage import Storage
from connectors.notifier import Notifier
from console.printable import printable_json
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.alarms.alarm import Alarm
from operations.alarms.examine import MAX_DEAD_LETTER_RATIO, Examination
from operations.alarms.notify import Sent, notify
from pipelines.runs.contracts import load_contracts
from pipelines.runs.exit_codes import EXIT_CODES
from transforms.ledger import State

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "alarms",
        "List what is wrong now: failed or killed runs, a ledger that does not balance, too many dead letters, broken\n"
        "quality rules and service levels. Exit code 6 if there is anything. --notify sends each alarm once when it\n"
        "is new, and once when it is over: run it at intervals where no launcher stays with the job.",
        "--local\n--notify env:ALARMS_URL --project P --location EU\n--format json --project P --location EU",
    )
    add = command.add_argument
    add("--notify", metavar="REFERENCE", help="env:NAME, file:PATH or secret:projects/… of an Apprise URL")
    add("--days", type=at_least_one, default=DAYS, help=f"runs of the last DAYS days (default {DAYS})")
    add(
        "--max_dead_letter_ratio",
        type=float,
        default=MAX_DEAD_LETTER_RATIO,
        help=f"of the records of a table in the last day (default {MAX_DEAD_LETTER_RATIO})",
    )
    add_tables(command)
    add_operations(command)
    add_format(command)
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "alarms")
    ratio, operations = arguments.max_dead_letter_ratio, arguments.operations_dataset
    if not 0 <= ratio <= 1:
        raise UsageError(f"--max_dead_letter_ratio must be from 0 to 1, not {ratio}")
    notifier = Notifier.of(arguments.notify) if arguments.notify else None
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        warehouse = Warehouse(project, location)
        tables = load_contracts(Storage(project), arguments.contracts)
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        since = datetime.now(UTC) - timedelta(days=arguments.days)
        examination = Examination(warehouse, operations, tables, datasets, since, ratio)
        alarms = examination.alarms()
        sent = None
        if notifier:
            ensure_operations(warehouse, operations)
            notices = Notices(warehouse, operations, uuid.uuid4().hex)
            sent = notify(alarms, examination.sees, notices, notifier, f"{project}.{operations}")
    if arguments.format == "json":
        print(printable_json([alarm.row() for alarm in alarms]))
    else:
        print_lines(terminal.output, _said(alarms))
        print_lines(terminal.output, _sent(sent))
    return EXIT_CODES[State.QUALITY_BROKEN] if alarms else 0


def _said(alarms: list[Alarm]) -> list[str]:
    if not alarms:
        return ["no alarm"]
    return [line for alarm in alarms for line in (f"{alarm.kind.value}  {alarm.says}", f"  {alarm.fix}")]


def _sent(sent: Sent | None) -> list[str]:
    if sent is None:
        return []
    return [f"notices sent: {len(sent.new):,} new, {len(sent.over):,} over"]
