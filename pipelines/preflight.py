"""All that is looked at before a batch starts, so that what cannot end well is refused with exit code 2."""

from __future__ import annotations

import fnmatch
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.api_core.exceptions import NotFound

from connectors.bigquery_load import Target, table_spec
from connectors.files import InputFile, belonging
from connectors.leases import Holder
from connectors.ledger_table import INPUT, RUN, LedgerTable
from connectors.operations_dataset import ensure_operations
from connectors.storage import FileChanged, Storage, join, split_uri
from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from contracts.odcs import load, shipped
from contracts.table import Table
from pipelines.batch import Batch
from pipelines.dataflow import check_dataflow, is_dataflow
from pipelines.options import LOCAL_BUCKET, OperationsOptions
from transforms.ledger import State
from transforms.run import Run

__all__ = ["Prepared", "check_names", "load_contracts", "prepare"]

DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Prepared:
    """A run that may start; `finished` where the ledger shows that it is done already."""

    batch: Batch
    target: Target
    finished: bool


def load_contracts(storage: Storage, where: str | None) -> dict[str, Table]:
    """The contracts of a folder, a glob or one file, or the shipped ones."""
    if where is None:
        return shipped()
    if "*" not in where and where.endswith((".yaml", ".yml")):
        return load([_contract(storage, where)])
    folder, _, pattern = where.rpartition("/") if "*" in where else (where, "", "*.odcs.yaml")
    folder = folder or "."
    try:
        found = [file.uri for file in storage.list(folder) if fnmatch.fnmatch(file.uri.rsplit("/", 1)[-1], pattern)]
    except NotFound:
        raise Misuse(f"--contracts: there is no folder {folder}") from None
    if not found:
        raise Misuse(f"--contracts: no {pattern} in {folder}")
    return load([_contract(storage, uri) for uri in found])


def _contract(storage: Storage, uri: str) -> tuple[str, str]:
    """A contract's file name and text."""
    name = uri.rsplit("/", 1)[-1]
    try:
        return name, storage.read(uri).decode()
    except FileChanged:
        raise Misuse(f"--contracts: there is no file {uri}") from None
    except UnicodeDecodeError as error:
        raise Misuse(f"{name}: not readable: byte {error.start} is not UTF-8") from None


def prepare(options: OperationsOptions, project: str | None, log: Callable[[str], None]) -> Prepared:
    """Check the configuration, make what is absent, pin the input. Misuse for whatever cannot end well."""
    local = bool(options.local)
    _check_required(options, project)
    assert project is not None
    check_dataflow(options)
    if is_dataflow(options) and not str(options.input).startswith("gs://"):
        raise Misuse(f"--input: Dataflow's workers do not see {options.input}; give a gs:// folder")
    storage, warehouse = Storage(project), Warehouse(project, options.location or "US")
    tables = load_contracts(storage, options.contracts)
    files = _files(options, storage, tables, log)
    _check_output(storage, options.processed or join(LOCAL_BUCKET, "processed"), "--processed", create=local)
    _check_output(storage, options.dead_letters or join(LOCAL_BUCKET, "dead_letters"), "--dead_letters", create=local)
    ensure_operations(warehouse, options.operations_dataset)
    ledger = LedgerTable(warehouse, options.operations_dataset)
    if options.only_new:
        loaded = ledger.loaded_files()
        fresh = [file for file in files if (file.table, file.uri, file.generation) not in loaded]
        log(f"{len(files) - len(fresh)} of {len(files)} files are loaded already")
        files = fresh
    tables = {name: table for name, table in tables.items() if any(file.table == name for file in files)}
    datasets = {name: options.dataset or table.dataset for name, table in tables.items()}
    _check_tables(warehouse, tables, datasets)
    run = _run(options, project, warehouse, ledger, files)
    ends = ledger.lines(run.run_id, RUN)
    return Prepared(
        Batch(run, tables, tuple(files), storage),
        Target(run, tables, datasets, warehouse),
        finished=bool(ends) and ends[0]["state"] == State.DONE.value,
    )


def refuse_held(name: str, holder: Holder) -> Misuse:
    """The refusal of a table, or of a group, that another run has."""
    if name.startswith("group:"):
        return Misuse(
            f"group {name.removeprefix('group:')} is read by run {holder.run_id}; wait until it ends, or stop it"
        )
    return Misuse(f"table {name} is being written by run {holder.run_id}; wait until it ends, or stop it")


def check_names(options: OperationsOptions) -> None:
    """Misuse for values that no pipeline takes, whatever it does."""
    if not 0 <= options.max_dead_letter_ratio <= 1:
        raise Misuse(f"--max_dead_letter_ratio is a share from 0 to 1, not {options.max_dead_letter_ratio}")
    if options.max_record_bytes < 1:
        raise Misuse("--max_record_bytes must be at least 1")
    if options.run_id and not RUN_ID.fullmatch(options.run_id):
        raise Misuse("--run_id takes letters, digits, _ . and -, at most 100")
    for dataset in (options.operations_dataset, options.dataset):
        if dataset is not None and not DATASET.fullmatch(dataset):
            raise Misuse(f"{dataset[:80]!r} is no name of a data set: letters, digits and _ only")


def _check_required(options: OperationsOptions, project: str | None) -> None:
    check_names(options)
    if options.local:
        return
    required = {"--project": project, "--location": options.location, "--input": options.input,
                "--processed": options.processed, "--dead_letters": options.dead_letters}  # fmt: skip
    missing = [name for name, value in required.items() if not value]
    if missing:
        raise Misuse(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; to try it on this machine:"
            " python launcher.py batch --runner DirectRunner --local"
        )
    for name in ("--processed", "--dead_letters"):
        if not str(required[name]).startswith("gs://"):
            raise Misuse(f"{name} must be a gs:// folder, for BigQuery loads from there")


def _check_folder(storage: Storage, folder: str, option: str, create: bool = False) -> None:
    if not folder.startswith("gs://"):
        return
    if not storage.bucket_exists(folder):
        if not create:
            raise Misuse(
                f"{option}: there is no bucket {folder.split('/')[2]}; make it with launcher.py setup --create_bucket"
            )
        storage.client.create_bucket(folder.split("/")[2])


def _check_output(storage: Storage, folder: str, option: str, create: bool) -> None:
    """The bucket is there and can be written: the folder's own empty object is, as `setup` does."""
    _check_folder(storage, folder, option, create)
    if folder.startswith("gs://") and split_uri(folder)[1].strip("/"):
        storage.write(join(folder, ""), b"")


def _files(
    options: OperationsOptions, storage: Storage, tables: Mapping[str, Table], log: Callable[[str], None]
) -> list[InputFile]:
    folder = options.input or join(LOCAL_BUCKET, "raw")
    _check_folder(storage, folder, "--input", create=bool(options.local) and not options.input)
    wanted = [name.strip() for name in (options.tables or "").split(",") if name.strip()]
    for name in wanted:
        if name not in tables:
            raise Misuse(f"--tables: no contract has a table {name}; there are {', '.join(sorted(tables))}")
    try:
        found, others = belonging(storage.list(folder), folder, tables)
    except NotFound:
        raise Misuse(f"--input: there is no folder {folder}") from None
    if others:
        log(f"{len(others)} files below {folder} belong to no table, such as {others[0]}")
    files = [file for file in found if not wanted or file.table in wanted]
    for name in wanted:
        if not any(file.table == name for file in files):
            raise Misuse(f"--tables: {folder} has no file of table {name}")
    if not files:
        hint = "; make some with launcher.py generate --local" if options.local else ""
        raise Misuse(f"--input: {folder} has no file of any table ({', '.join(sorted(tables))}){hint}")
    return files


def _check_tables(warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str]) -> None:
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        warehouse.check_table(table_spec(table, datasets[name]))
    for name, table in tables.items():
        warehouse.ensure_table(table_spec(table, datasets[name]))


def _run(
    options: OperationsOptions, project: str, warehouse: Warehouse, ledger: LedgerTable, files: list[InputFile]
) -> Run:
    """The run, new or gone on with; its pinned files are in the ledger when this returns."""
    now = datetime.now(UTC)
    run_id = options.run_id or f"batch-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    pinned = ledger.lines(run_id, INPUT) if options.run_id else []
    if pinned:
        before = {(line["table"], line["source"], line["generation"], line["size"]) for line in pinned}
        if before != {(file.table, file.uri, file.generation, file.size) for file in files}:
            raise Misuse(f"--run_id: run {run_id} has read other files (or other versions of them); give a new name")
    run = Run(
        run_id, secrets.token_hex(8), "batch", pinned[0]["started_at"] if pinned else now, project,
        warehouse.location, options.operations_dataset, options.processed or join(LOCAL_BUCKET, "processed"),
        options.dead_letters or join(LOCAL_BUCKET, "dead_letters"), options.max_record_bytes,
        options.max_dead_letter_ratio, options.keep_duplicates,
    )  # fmt: skip
    if not pinned:
        ledger.record(
            run, INPUT,
            [{"table": f.table, "source": f.uri, "generation": f.generation, "size": f.size} for f in files],
        )  # fmt: skip
    return run
