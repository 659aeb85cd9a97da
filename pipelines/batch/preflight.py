"""All that is checked before a batch starts, so that a run that cannot succeed is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import NotFound

from connectors.bigquery.table_spec import TableSpec, lacking
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.ledger import INPUT, PASSED_OVER, RUN, LedgerTable
from connectors.files.names import RULE, InputFile, InputListing, belonging, escaped
from connectors.files.storage import Storage, join, split_uri
from connectors.sinks.destination import Destination, Placed, table_spec
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.batch.graph import Batch
from pipelines.engines.dataflow import check_dataflow
from pipelines.engines.runners import is_dataflow
from pipelines.runs.availability import wait_for_bigquery, wait_for_storage
from pipelines.runs.contracts import check_table, load_contracts
from pipelines.runs.settings import BatchSettings
from transforms.ledger import State
from transforms.run import Run

__all__ = ["NoInput", "PreparedBatch", "input_listing", "prepare_batch"]

SHOWN_FILES = 5
KEPT_FILES = 1000
"""How many names of files that are not read an error and the ledger hold."""


class NoInput(UsageError):
    """No file of the input belongs to a table."""


@dataclass(frozen=True)
class PreparedBatch:
    """A run that may start; `finished` if the ledger says that it is done already."""

    batch: Batch
    destination: Destination
    finished: bool


def prepare_batch(settings: BatchSettings, log: Callable[[str], None]) -> PreparedBatch:
    """Check the settings, create datasets and tables, pin the input.

    Raises UsageError for what cannot succeed and Unavailable for a service that does not answer.
    """
    options = settings.beam.options()
    check_dataflow(options)
    if is_dataflow(options) and not settings.input.startswith("gs://"):
        raise UsageError(f"--input: Dataflow's workers cannot read {settings.input}; give a gs:// folder")
    storage, warehouse = Storage(settings.project), Warehouse(settings.project, settings.location)
    wait_for_storage(storage, settings.processed, log)
    wait_for_bigquery(warehouse, settings.operations_dataset, log)
    contracts = load_contracts(storage, settings.contracts)
    listing = InputListing(list(settings.files), [], 0)
    if not settings.files:
        listing = input_listing(settings, storage, contracts, log)
    _check_output(storage, settings.processed, "--processed")
    _check_output(storage, settings.dead_letters, "--dead_letters")
    ensure_operations(warehouse, settings.operations_dataset)
    ledger = LedgerTable(warehouse, settings.operations_dataset)
    datasets = settings.datasets(contracts)
    lines = ledger.lines(settings.run_id, INPUT, RUN) if settings.run_id else []
    pinned = [line for line in lines if line["kind"] == INPUT]
    for line in pinned:
        if line["dataset"] not in (None, datasets.get(line["table"])):
            raise UsageError(f"--run_id: run {settings.run_id} has written dataset {line['dataset']}; give a new name")
    if settings.only_new:
        listing = replace(listing, files=_only_new(ledger, pinned, listing.files, datasets, log))
    tables = {name: table for name, table in contracts.items() if any(file.table == name for file in listing.files)}
    for table in tables.values():
        for note in table.notes:
            log(f"{table.name}: {note}")
    placed, datasets = datasets, {name: datasets[name] for name in tables}
    _ensure_tables(warehouse, tables, datasets, log)
    finished = any(line["kind"] == RUN and line["state"] == State.DONE.value for line in lines)
    run = _run(settings, ledger, listing, datasets, pinned, finished)
    targets = {rule.target.table for table in tables.values() for rule in table.rules if rule.target}
    related = {name: Placed(contracts[name], placed[name]) for name in targets}
    destination = Destination(run, tables, datasets, warehouse, related)
    return PreparedBatch(Batch.between(tuple(listing.files), storage, destination), destination, finished)


def _check_bucket(storage: Storage, folder: str, option: str) -> None:
    if folder.startswith("gs://") and not storage.bucket_exists(folder):
        bucket = split_uri(folder)[0]
        raise UsageError(f"{option}: there is no bucket {bucket}; create it with launcher.py setup --create_bucket")


def _check_output(storage: Storage, folder: str, option: str) -> None:
    """Check that the bucket exists and can be written to: write the folder's own empty object, as `setup` does."""
    _check_bucket(storage, folder, option)
    if folder.startswith("gs://") and split_uri(folder)[1].strip("/"):
        storage.write(join(folder, ""), b"")


def input_listing(
    settings: BatchSettings, storage: Storage, tables: Mapping[str, Table], log: Callable[[str], None]
) -> InputListing:
    """Return what is under the input; its `files` are those of the wanted tables, at least one of each."""
    folder, wanted = settings.input, settings.tables
    _check_bucket(storage, folder, "--input")
    for name in wanted:
        check_table("--tables", name, tables)
    _check_case(tables)
    try:
        listing = belonging(storage.scan(folder), folder, tables)
    except NotFound:
        raise UsageError(f"--input: there is no folder {folder}") from None
    others = [f"{file.uri} ({escaped(file.reason)})" for file in listing.passed_over]
    if others and settings.strict_files:
        first = "; ".join(others[:SHOWN_FILES]) + ("; …" if len(others) > SHOWN_FILES else "")
        raise UsageError(f"--strict_files: {len(others)} files under {folder} belong to no table: {first}; {RULE}")
    if others and listing.files:
        log(f"files under {folder} that are not read: {len(others):,}, such as {others[0]}; {RULE}")
    if listing.uncommitted:
        log(f"{listing.uncommitted} files under {folder} are not data: they, or their folders, begin with _ or .")
    files = [file for file in listing.files if not wanted or file.table in wanted]
    for name in wanted:
        if not any(file.table == name for file in files):
            raise UsageError(f"--tables: {folder} has no file of table {name}")
    if not files:
        content = f"of its other files ({len(others):,}) one is {others[0]}; {RULE}" if others else "it is empty"
        if listing.uncommitted and not others:
            content = "the names of all its files begin with _ or ."
        raise NoInput(f"--input: {folder} has no file of any table ({', '.join(sorted(tables))}): {content}")
    return replace(listing, files=files)


def _check_case(tables: Mapping[str, Table]) -> None:
    names = {name.lower(): name for name in tables}
    for name in tables:
        if names[name.lower()] != name:
            raise UsageError(
                f"tables {name} and {names[name.lower()]} differ only in case, which file names do not show"
            )


def _ensure_tables(
    warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str], log: Callable[[str], None]
) -> None:
    """Create the tables that do not exist, once all that exist have been checked against their contracts."""
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        spec = table_spec(table, datasets[name])
        existing = warehouse.check_table(spec)
        if existing and (added := lacking(spec, existing)):
            log(added_columns(spec, [column.path for column in added], existing.num_rows or 0))
    for name, table in tables.items():
        warehouse.ensure_table(table_spec(table, datasets[name]))


def added_columns(spec: TableSpec, names: Sequence[str], rows: int) -> str:
    """Return the line about columns that a run adds to a table of `rows` rows; 0 if the number is not known."""
    older = f"{rows:,} older rows" if rows else "older rows"
    return (
        f"added to {spec.dataset}.{spec.name}: {', '.join(names)}; {older} have NULL there; to fill them, load their"
        " files once with writeDisposition merge (docs/how-to/change-a-contract.md)"
    )


def _only_new(
    ledger: LedgerTable,
    pinned: Sequence[Mapping[str, Any]],
    files: Sequence[InputFile],
    datasets: Mapping[str, str],
    log: Callable[[str], None],
) -> list[InputFile]:
    """Return the files that no run has loaded into these datasets; for a run that continues, those that it `pinned`."""
    if pinned:
        own = {(line["table"], line["source"], line["generation"]) for line in pinned}
        return [file for file in files if (file.table, file.uri, file.generation) in own]
    loaded = ledger.loaded_files()
    new = [
        file
        for file in files
        if not loaded & {(name, file.table, file.uri, file.generation) for name in (None, datasets[file.table])}
    ]
    log(f"{len(files) - len(new)} of {len(files)} files are loaded already")
    return new


def _run(
    settings: BatchSettings,
    ledger: LedgerTable,
    listing: InputListing,
    datasets: Mapping[str, str],
    pinned: Sequence[Mapping[str, Any]],
    finished: bool,
) -> Run:
    """Return the run, new or continued. Its pinned files, and those passed over, are in the ledger then.

    A run that is `finished` may have had no file.
    """
    files = listing.files
    now = datetime.now(UTC)
    run_id = settings.run_id or f"batch-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    if pinned or finished:
        before = {(line["table"], line["source"], line["generation"], line["size"]) for line in pinned}
        if before != {(file.table, file.uri, file.generation, file.size) for file in files}:
            raise UsageError(
                f"--run_id: run {run_id} has read other files (or other versions of them); give a new name"
            )
    run = Run(
        run_id=run_id,
        token=secrets.token_hex(8),
        pipeline="batch",
        started_at=pinned[0]["started_at"] if pinned else now,
        project=settings.project,
        location=settings.location,
        operations_dataset=settings.operations_dataset,
        processed=settings.processed,
        dead_letters=settings.dead_letters,
        max_record_bytes=settings.max_record_bytes,
        max_dead_letter_ratio=settings.max_dead_letter_ratio,
        keep_duplicates=settings.keep_duplicates,
        max_expansion=settings.max_expansion,
    )
    if not pinned and not finished:
        ledger.record(
            run,
            INPUT,
            [
                {
                    "table": f.table,
                    "dataset": datasets[f.table],
                    "source": f.uri,
                    "generation": f.generation,
                    "size": f.size,
                }
                for f in files
            ],
        )
        if listing.passed_over or listing.uncommitted:
            ledger.record(run, PASSED_OVER, [{"detail": _passed_over(listing)}])
    return run


def _passed_over(listing: InputListing) -> dict[str, object]:
    """Return what the ledger and the summary say of the files that are not read."""
    files = [{"uri": file.uri, "reason": escaped(file.reason)} for file in listing.passed_over[:KEPT_FILES]]
    return {"count": len(listing.passed_over), "files": files, "uncommitted": listing.uncommitted}
