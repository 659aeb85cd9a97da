"""Send dead letters again: the graph of a batch, whose input are stored letters instead of files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.ledger import INPUT, RUN, LedgerTable
from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from connectors.sinks.dead_letter_store import ReplayedDeadLetters
from connectors.sinks.destination import Destination, table_spec
from connectors.sinks.load import LoadTables
from connectors.sinks.parquet import WriteDeadLetters, WriteShards
from connectors.sources.read_again import ReadAgain, origins
from connectors.sources.read_letters import ReadLetters
from contracts.decoding.patch import Patch
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.batch.graph import Batch
from pipelines.batch.preflight import PreparedBatch
from pipelines.batch.run import execute
from pipelines.batch.summary import BatchSummary, batch_summary
from pipelines.replay.patches import parse_patch
from pipelines.replay.selection import Selection, fed_by_updates, why_not
from pipelines.runs.availability import wait_for_bigquery, wait_for_storage
from pipelines.runs.beam_arguments import BeamArguments
from pipelines.runs.contracts import check_table
from transforms.ledger import State
from transforms.progress import Progress
from transforms.run import Run
from transforms.run_state import RunState, registered

__all__ = ["ReplaySettings", "replay_of", "run_replay", "tables_to_replay"]


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """Where the dead letters and their tables are, and which letters are sent again."""

    project: str
    location: str
    operations_dataset: str
    processed: str
    dead_letters: str
    """Folders for files, as of a batch."""
    run_id: str | None
    max_record_bytes: int
    selection: Selection
    kafka: KafkaConfig | None = None
    """Where the topics are whose truncated records are read again."""
    patch: tuple[str, ...] = ()
    """Expressions for fields of the table that the selection names, see patches.py."""

    def patches(self, tables: Mapping[str, Table]) -> dict[str, Patch]:
        """Return the patch by name of its table. Raises UsageError if the table has no such patch."""
        name = self.selection.table
        return {name: parse_patch(self.patch, tables[name])} if name and self.patch else {}

    def detail(self) -> dict[str, object]:
        """Return what the ledger says of the choice: a run that continues must have the same."""
        return {**self.selection.detail(), **({"patch": list(self.patch)} if self.patch else {})}


def tables_to_replay(
    settings: ReplaySettings, contracts: Mapping[str, Table], log: Callable[[str], None]
) -> dict[str, Table]:
    """Return the tables whose letters can be sent again; log the others. Raises UsageError for --table."""
    chosen = settings.selection.table
    if chosen:
        check_table("--table", chosen, contracts)
    if chosen and (why := why_not(contracts[chosen])):
        raise UsageError(f"--table {chosen}: {why}")
    if chosen:
        return {chosen: contracts[chosen]}
    for name, table in sorted(contracts.items()):
        if why := why_not(table):
            log(f"{name}: not sent again, {why}")
    possible = {name: table for name, table in contracts.items() if not why_not(table)}
    if not possible:
        raise UsageError("no table is left whose dead letters can be sent again")
    return possible


def replay_of(settings: ReplaySettings, pinned: Sequence[Mapping[str, Any]]) -> Run:
    """Return the run, which continues the one whose lines of the kind INPUT are `pinned`, if there are any.

    Raises UsageError if that has chosen something else.
    """
    if any(line["pipeline"] != "replay" or line["detail"] != settings.detail() for line in pinned):
        raise UsageError(
            f"--run_id: run {settings.run_id} has chosen other dead letters or another patch; give a new name"
        )
    now = datetime.now(UTC)
    return Run(
        run_id=settings.run_id or f"replay-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        token=secrets.token_hex(8),
        pipeline="replay",
        started_at=pinned[0]["started_at"] if pinned else now,
        project=settings.project,
        location=settings.location,
        operations_dataset=settings.operations_dataset,
        processed=settings.processed,
        dead_letters=settings.dead_letters,
        max_record_bytes=settings.max_record_bytes,
        max_dead_letter_ratio=1.0,  # what is refused again stays where it is
    )


def run_replay(
    settings: ReplaySettings,
    contracts: Mapping[str, Table],
    log: Callable[[str], None],
    state: RunState,
    show_progress: Callable[[Progress], AbstractContextManager[None]] | None = None,
) -> BatchSummary:
    """Send the selected letters again and return the summary. Raises a ReportedError for what is refused before."""
    started, began = time.monotonic(), datetime.now(UTC)
    warehouse, storage = Warehouse(settings.project, settings.location), Storage(settings.project)
    prepared = _prepare(settings, warehouse, storage, contracts, log)
    batch, why = prepared.batch, None
    if prepared.finished:
        log(f"run {batch.run.run_id} is done already; nothing to do")
    elif batch.inputs:
        log(f"run {batch.run.run_id}: dead letters of {', '.join(batch.tables)}")
        state.progress.total = sum(file.size for file in batch.inputs)
        display = show_progress(state.progress) if show_progress else nullcontext()
        with registered(batch.run.token, state), display:
            why = execute(prepared, BeamArguments((), {}), log)
    else:
        log("no dead letter meets the condition")
    summary = batch_summary(prepared, began, why, time.monotonic() - started)
    if summary.state in (State.DONE, State.QUALITY_BROKEN):
        warehouse.drop(settings.operations_dataset, settings.selection.pinned_name(batch.run.run_id))
    return summary


def _prepare(
    settings: ReplaySettings,
    warehouse: Warehouse,
    storage: Storage,
    contracts: Mapping[str, Table],
    log: Callable[[str], None],
) -> PreparedBatch:
    wait_for_storage(storage, settings.processed, log)
    wait_for_bigquery(warehouse, settings.operations_dataset, log)
    ensure_operations(warehouse, settings.operations_dataset)
    ledger = LedgerTable(warehouse, settings.operations_dataset)
    lines = ledger.lines(settings.run_id, INPUT, RUN) if settings.run_id else []
    pinned = [line for line in lines if line["kind"] == INPUT]
    run = replay_of(settings, pinned)
    finished = any(line["kind"] == RUN and line["state"] == State.DONE.value for line in lines)
    possible = tables_to_replay(settings, contracts, log)
    patches = settings.patches(possible)
    for name in fed_by_updates(warehouse, possible, settings.selection.datasets(possible)):
        log(f"{name}: records of its topics are not sent again, a newer one may have come; send them to the topic")
    inputs: list[InputFile] = []
    letters = settings.selection.pinned_name(run.run_id)
    if not finished:
        settings.selection.pin(warehouse, settings.operations_dataset, run.run_id, possible)
        path = f"`{warehouse.project}.{settings.operations_dataset}.{letters}`"
        sizes = warehouse.query(
            f"SELECT table_name AS name, SUM(LENGTH(raw)) AS size FROM {path} GROUP BY 1 ORDER BY 1"
        )
        if unknown := sorted({row["name"] for row in sizes} - possible.keys()):
            raise UsageError(
                f"--contracts: run {run.run_id} sends dead letters of {', '.join(unknown)}: no contract has it"
            )
        inputs = [InputFile(row["name"], f"{row['name']}.ndjson", row["size"], 0) for row in sizes]
        if inputs and not pinned:
            ledger.record(run, INPUT, [{"detail": settings.detail()}])
    tables = {file.table: possible[file.table] for file in inputs}
    datasets = settings.selection.datasets(tables)
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        warehouse.ensure_table(table_spec(table, datasets[name]))
    found = origins(warehouse, run.operations_dataset, path) if inputs else {}
    whole = ReadAgain(storage, settings.kafka, found)
    to = Destination(run, tables, datasets, warehouse)
    batch = Batch(
        run,
        tables,
        tuple(inputs),
        read=ReadLetters(letters, tables, run, patches, whole),
        write_rows=WriteShards(run, storage),
        write_dead_letters=WriteDeadLetters(tables, run, storage, datasets),
        load=LoadTables(to, storage, ReplayedDeadLetters(to, to.path(run.operations_dataset, letters))),
    )
    return PreparedBatch(batch, to, finished)
