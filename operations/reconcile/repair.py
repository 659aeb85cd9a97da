"""What `reconcile --repair` does: only what cannot make anything worse. Everything else it names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.api_core.exceptions import GoogleAPICallError

from connectors.bigquery.warehouse import JobFailed
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LOADED
from connectors.bookkeeping.statements import lease_condition, statement_id
from connectors.files.names import InputFile
from connectors.sources.files import MAX_EXPANSION
from contracts.bookkeeping import DEAD_LETTERS, LEDGER
from contracts.errors import Conflict, Unavailable
from contracts.schemas import quote
from contracts.table import Table, WriteDisposition
from operations.reconcile.comparison import Answer, Scope
from operations.reconcile.copies import Copies
from operations.reconcile.files import LoadedFiles
from operations.reconcile.findings import Code, Finding, letters_name
from operations.reconcile.recomputed import MAX_RECORD_BYTES
from pipelines.batch.run import run_batch
from pipelines.runs.beam_arguments import BeamArguments
from pipelines.runs.leasing import conflict_with
from pipelines.runs.settings import BatchSettings
from transforms.ledger import State

__all__ = ["Folders", "Plan", "Repair", "planned"]

DOUBLED = (Code.ROWS_UNKNOWN, Code.DUPLICATE_KEYS)
MISSING = (Code.ROWS_MISSING, Code.DEAD_LETTERS_MISSING)
STREAMING_BUFFER = "streaming buffer"
"""What BigQuery's message says of rows that a stream has written so recently that no statement may change them."""


@dataclass(frozen=True)
class Folders:
    """Where a batch writes its files, and the contracts that it reads."""

    processed: str
    dead_letters: str
    contracts: str | None
    dataset: str | None


@dataclass(frozen=True)
class Repair:
    """One thing that is done, and how it is said."""

    said: str
    do: Callable[[Callable[[str], None]], None]
    """Takes what logs a line. Raises a ReportedError."""


@dataclass(frozen=True)
class Plan:
    """What is repaired, and what is left for a person."""

    repairs: Sequence[Repair]
    left: Sequence[Finding]


def planned(scope: Scope, answer: Answer, folders: Folders) -> Plan:
    """Return what can be repaired of what was found."""
    repairs: list[Repair] = []
    covered = set[int]()
    for repair, findings in _repairs(scope, answer, folders):
        repairs.append(repair)
        covered |= {id(finding) for finding in findings}
    return Plan(repairs, [finding for finding in answer.findings if id(finding) not in covered])


def _repairs(scope: Scope, answer: Answer, folders: Folders) -> Iterator[tuple[Repair, list[Finding]]]:
    """Yield each repair and the findings that it is for."""
    for name in sorted(scope.tables):
        of_table = [finding for finding in answer.findings if finding.table == f"{scope.datasets[name]}.{name}"]
        of_letters = [
            finding for finding in answer.findings if finding.table == letters_name(scope.operations_dataset, name)
        ]
        yield from _copies(scope, name, of_table, of_letters)
        for source in sorted({each.source for each in [*of_table, *of_letters] if each.code in MISSING}):
            file = _file_to_load(scope, answer, name, source)
            if file is not None:
                its = [each for each in [*of_table, *of_letters] if each.code in MISSING and each.source == source]
                yield _load(scope, file, folders), its
    for finding in answer.findings:
        if finding.code is Code.STAGING_LEFT:
            yield Repair(f"drop the staging table {finding.table}", _drop_staging(scope, finding.table)), [finding]


def _copies(
    scope: Scope, name: str, of_table: list[Finding], of_letters: list[Finding]
) -> Iterator[tuple[Repair, list[Finding]]]:
    dataset = scope.datasets[name]
    doubled = [each for each in of_table if each.code in DOUBLED]
    stored = scope.warehouse.existing(dataset, name) if doubled else None
    if stored is not None:
        columns = [field.name for field in stored.schema]
        copies = Copies.of_rows(scope.tables[name], _path(scope, dataset, name), columns)
        if count := _count(scope, copies):
            said = f"doubled rows of {dataset}.{name}: drop {count:,}, keep one of each"
            yield Repair(said, _drop_rows(scope, f"{dataset}.{name}", copies)), doubled
    lines = [each for each in of_table if each.code is Code.LEDGER_DOUBLED]
    letters = [each for each in of_letters if each.code is Code.DEAD_LETTERS_UNKNOWN]
    operations = scope.operations_dataset
    ledger, dead_letters = (_path(scope, operations, table.name) for table in (LEDGER, DEAD_LETTERS))
    for findings, copies, kind in (
        (lines, Copies.of_lines({name: dataset}, ledger, scope.since), "lines of the ledger"),
        (letters, Copies.of_letters(name, dead_letters), "dead letters"),
    ):
        if findings and (count := _count(scope, copies)):
            said = f"doubled {kind} about {dataset}.{name}: drop {count:,}, keep one of each"
            yield Repair(said, _drop_bookkeeping(scope, copies)), findings


def _count(scope: Scope, copies: Copies) -> int:
    return sum(row["copies"] for row in copies.found(scope.warehouse))


def _path(scope: Scope, dataset: str, name: str) -> str:
    return ".".join(map(quote, (scope.warehouse.project, dataset, name)))


def _drop_rows(scope: Scope, qualified: str, copies: Copies) -> Callable[[Callable[[str], None]], None]:
    def drop(_log: Callable[[str], None]) -> None:
        """Under the lease of the table, which the statement carries."""
        leases = Leases(scope.warehouse, scope.operations_dataset)
        run_id, token = _run_id(), secrets.token_hex(8)
        holder = leases.take([qualified], run_id, token)
        if holder:
            raise conflict_with(holder)
        with Heartbeat(leases, [qualified], token):
            held = lease_condition(_path(scope, scope.operations_dataset, "leases"), qualified, token)
            job = statement_id(scope.operations_dataset, qualified, run_id, token)
            _execute(scope, copies.drop_statement(held), job)

    return drop


def _drop_bookkeeping(scope: Scope, copies: Copies) -> Callable[[Callable[[str], None]], None]:
    def drop(_log: Callable[[str], None]) -> None:
        _execute(scope, copies.drop_statement(), f"{_run_id()}-copies")

    return drop


def _execute(scope: Scope, sql: str, job: str) -> None:
    try:
        scope.warehouse.execute(sql, job)
    except (JobFailed, GoogleAPICallError) as error:
        if STREAMING_BUFFER not in str(error):
            raise
        raise Unavailable(
            "BigQuery changes no row that a stream has written in the last minutes; repeat --repair in 90 minutes"
        ) from None


def _run_id() -> str:
    return f"repair-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _file_to_load(scope: Scope, answer: Answer, name: str, source: str) -> InputFile | None:
    """Return the file if loading it again adds what is missing and changes nothing else.

    It is unchanged, and its table takes a row only if the key is new: an older file would otherwise replace newer rows.
    """
    table: Table = scope.tables[name]
    if table.disposition is not WriteDisposition.APPEND or answer.books.is_fed_by_updates(name):
        return None
    lines = [
        line
        for line in answer.books.lines
        if (line.table, line.source, line.kind, line.pipeline) == (name, source, LOADED, "batch")
    ]
    return LoadedFiles(scope.storage).unchanged(lines[-1]) if lines else None


def _load(scope: Scope, file: InputFile, folders: Folders) -> Repair:
    run_id = _run_id()

    def load(log: Callable[[str], None]) -> None:
        settings = BatchSettings(
            project=scope.warehouse.project,
            location=scope.warehouse.location,
            operations_dataset=scope.operations_dataset,
            dataset=folders.dataset,
            contracts=folders.contracts,
            run_id=run_id,
            keep_duplicates=False,
            max_dead_letter_ratio=1.0,  # the dead letters of the file are known
            max_record_bytes=MAX_RECORD_BYTES,
            max_expansion=MAX_EXPANSION,
            beam=BeamArguments(),
            input="",
            processed=folders.processed,
            dead_letters=folders.dead_letters,
            tables=(),
            strict_files=False,
            only_new=False,
            files=(file,),
        )
        summary = run_batch(settings, log)
        if summary.state not in (State.DONE, State.QUALITY_BROKEN):
            raise Conflict(f"run {run_id} has not loaded {file.uri}: {summary.why}")

    return Repair(f"load {file.uri} into {scope.datasets[file.table]}.{file.table} again, as run {run_id}", load)


def _drop_staging(scope: Scope, table: str) -> Callable[[Callable[[str], None]], None]:
    def drop(log: Callable[[str], None]) -> None:
        """A run that is continued loads under new names, so nobody needs the table; unless one has begun by now."""
        if active := Leases(scope.warehouse, scope.operations_dataset).holders():
            log(f"{table} is kept: run {active[0].run_id} has begun")
            return
        scope.warehouse.drop(*table.split("."))

    return drop
