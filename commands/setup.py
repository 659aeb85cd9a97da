"""`setup`: bucket, data sets and tables."""

from __future__ import annotations

from contextlib import nullcontext

from commands.arguments import add_place, parser, place
from commands.session import cloud, log
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from operations.setup import setup, statements
from pipelines.preflight import load_contracts

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    command = parser(
        "setup", "Make bucket, data sets and tables from the contracts; safe to run twice.",
        "--bucket gs://B --create_bucket --project P --location EU\n--dry_run --project P --location EU",
    )  # fmt: skip
    command.add_argument("--bucket", help="gs://BUCKET")
    command.add_argument("--create_bucket", action="store_true", help="make the bucket if it is absent")
    command.add_argument("--contracts", help="folder or glob of *.odcs.yaml in place of the shipped ones")
    command.add_argument("--dataset", help="data set of the tables; default: what each contract says")
    command.add_argument("--operations_dataset", default="pipeline_operations")
    command.add_argument("--dry_run", action="store_true", help="print the statements and do nothing")
    add_place(command)
    arguments = command.parse_args(argv)
    project, location = place(arguments, "setup")
    bucket = arguments.bucket or ("gs://ecommerce-data-lake" if arguments.local else None)
    with nullcontext() if arguments.dry_run else cloud(arguments.local, arguments.local_dir):
        storage = Storage(project)
        tables = load_contracts(storage, arguments.contracts)
        datasets = {name: arguments.dataset or table.dataset for name, table in tables.items()}
        if arguments.dry_run:
            print(";\n\n".join(statements(project, location, tables, datasets, arguments.operations_dataset)) + ";")
            return 0
        if bucket is None or not bucket.startswith("gs://"):
            raise Misuse("--bucket is missing: gs://BUCKET")
        create = arguments.create_bucket or arguments.local
        warehouse = Warehouse(project, location)
        setup(warehouse, storage, tables, datasets, arguments.operations_dataset, bucket, create, log)
    return 0
