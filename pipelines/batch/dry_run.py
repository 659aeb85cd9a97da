"""What a batch would read and change, without a change: `batch --dry_run`."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.bigquery.table_spec import lacking
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.sinks.destination import table_spec
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.batch.preflight import input_listing
from pipelines.runs.contracts import load_contracts
from pipelines.runs.settings import BatchSettings

__all__ = ["dry_run_lines"]

SHOWN_FILES = 3


def dry_run_lines(settings: BatchSettings) -> list[str]:
    """Return what a batch with these settings would read, into which tables, and how it would change them.

    Nothing is created. Raises UsageError for what the batch itself would refuse at its start.
    """
    storage, warehouse = Storage(settings.project), Warehouse(settings.project, settings.location)
    contracts = load_contracts(storage, settings.contracts)
    remarks: list[str] = []
    files = input_listing(settings, storage, contracts, remarks.append).files
    names = dict.fromkeys(file.table for file in files)
    datasets = settings.datasets({name: contracts[name] for name in names})
    lines = ["dry run: nothing is read, written or created"]
    for name in names:
        own = [file for file in files if file.table == name]
        lines.append(f"{name} into {datasets[name]}.{name} ({contracts[name].disposition.value})")
        uris = ", ".join(file.uri for file in own[:SHOWN_FILES]) + (", …" if len(own) > SHOWN_FILES else "")
        lines.append(f"  reads {len(own)} {_noun(len(own))}, {sum(file.size for file in own):,} bytes: {uris}")
        lines += [f"  {line}" for line in _changes(warehouse, contracts[name], datasets[name])]
    return [*lines, *remarks]


def _changes(warehouse: Warehouse, table: Table, dataset: str) -> Iterator[str]:
    """Yield what happens to the table in BigQuery."""
    spec = table_spec(table, dataset)
    if warehouse.check_dataset(dataset) is None:
        yield f"creates the dataset {dataset}, and the table with {len(spec.schema)} columns"
        return
    try:
        existing = warehouse.check_table(spec)
    except UsageError as error:
        yield f"is refused: {error}"
        return
    if existing is None:
        yield f"creates the table with {len(spec.schema)} columns"
    elif added := lacking(spec, existing):
        columns = ", ".join(f"{path} {field.field_type}" for path, field in added)
        yield f"adds the columns {columns}; rows that are in the table get NULL"
    else:
        yield "leaves the schema of the table unchanged"


def _noun(count: int) -> str:
    return "file" if count == 1 else "files"
