"""`setup`: bucket, datasets and tables."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from commands.arguments import add_operations, add_place, add_tables, at_least_one, parser, place
from commands.session import cloud
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.specs import SHORTEST_DAYS, Retention
from connectors.files.scratch import remove_leftovers
from connectors.files.storage import Storage
from console.terminal import Terminal
from contracts.errors import UsageError
from operations.setup import Tables, setup, statements
from pipelines.runs.contracts import load_contracts

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "setup",
        "Create bucket, datasets and tables from the contracts; safe to repeat.",
        "--bucket gs://B --create_bucket --project P --location EU\n--dry_run --project P --location EU\n"
        "--bucket gs://B --dead_letter_days 90 --ledger_days 400 --project P --location EU",
    )
    command.add_argument("--bucket", help="gs://BUCKET")
    command.add_argument("--create_bucket", action="store_true", help="create the bucket if it does not exist")
    command.add_argument(
        "--dead_letter_days", type=_days, metavar="N", help="let BigQuery drop dead letters after N days"
    )
    command.add_argument(
        "--ledger_days", type=_days, metavar="N", help="let BigQuery drop lines of the ledger after N days"
    )
    add_tables(command)
    add_operations(command)
    command.add_argument("--dry_run", action="store_true", help="print the statements without running them")
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "setup")
    bucket = arguments.bucket or ("gs://ecommerce-data-lake" if arguments.local else None)
    retention = Retention(arguments.dead_letter_days, arguments.ledger_days)
    with nullcontext() if arguments.dry_run else cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        storage = Storage(project)
        contracts = load_contracts(storage, arguments.contracts)
        datasets = {name: arguments.dataset or table.dataset for name, table in contracts.items()}
        tables = Tables(contracts, datasets, arguments.operations_dataset, retention)
        if arguments.dry_run:
            print(";\n\n".join(statements(project, location, tables)) + ";")
            return 0
        if bucket is None or not bucket.startswith("gs://"):
            raise UsageError("--bucket is missing: gs://BUCKET")
        if removed := remove_leftovers():
            terminal.log(f"removed what {removed} killed batches have left on this machine")
        create = arguments.create_bucket or arguments.local
        warehouse = Warehouse(project, location)
        setup(warehouse, storage, tables, bucket, create, terminal.log)
    return 0


def _days(text: str) -> int:
    days = at_least_one(text)
    if days < SHORTEST_DAYS:
        raise argparse.ArgumentTypeError(f"{text}: at least {SHORTEST_DAYS}: reconcile and replay read 30 days of it")
    return days
