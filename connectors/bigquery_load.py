"""The warehouse's end of a batch, as steps of the graph: record the balance, load, merge, close.

Each step may run again, in the same attempt or after a crash, and finds what is done already: jobs by their
ids, rows by their keys, ledger lines by what they are about.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

import apache_beam as beam
from google.api_core.exceptions import NotFound
from google.cloud.bigquery import SchemaField

from connectors.leases import Heartbeat, Leases
from connectors.ledger_table import LOADED, STAGED, LedgerTable, dead_letters_spec
from connectors.merge import merge_statement
from connectors.operations_dataset import ensure_operations
from connectors.parquet import run_folder
from connectors.storage import Storage
from connectors.warehouse import TableSpec, Warehouse, job_name
from contracts.schemas import bigquery_schema, quote
from contracts.table import Table, WriteDisposition
from transforms.ledger import Balance, LetterFile, Shard, SourceCounts, State
from transforms.metrics import RECORDS, count
from transforms.run import Run

__all__ = [
    "Close",
    "LoadStaging",
    "Merge",
    "RecordBalance",
    "RunStopped",
    "TableLoad",
    "staging_prefix",
    "table_spec",
]

STAGING_LIFETIME = timedelta(days=1)
"""After which BigQuery drops a staging table that a crashed run left and nobody ran again."""
logger = logging.getLogger(__name__)


class RunStopped(Exception):
    """The run may not go on; its ledger says why. It makes the job fail."""


class TableLoad(NamedTuple):
    """One table's part of a run that is balanced: what is to be loaded, and its ledger."""

    table: str
    shards: tuple[Shard, ...]
    counts: Mapping[str, SourceCounts]
    letters: tuple[LetterFile, ...]


class TableDone(NamedTuple):
    """One table's part of a run that is loaded: its files and the jobs that did it."""

    table: str
    shards: tuple[str, ...]
    letters: tuple[str, ...]
    jobs: tuple[str, ...]
    balanced: bool


def table_spec(table: Table, dataset: str) -> TableSpec:
    """The BigQuery table of a contract."""
    return TableSpec(
        dataset, table.name, tuple(bigquery_schema(table)), table.partition, table.clustering, table.description
    )


def staging_prefix(run_id: str) -> str:
    """How the names of a run's staging tables begin."""
    return f"staging_{_short(run_id)}_"


def _short(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Target:
    """What the steps need to reach the warehouse: tables by name, their data sets, the run."""

    run: Run
    tables: Mapping[str, Table]
    datasets: Mapping[str, str]
    warehouse: Warehouse

    @property
    def ledger(self) -> LedgerTable:
        """The run's ledger."""
        return LedgerTable(self.warehouse, self.run.operations_dataset)

    def path(self, dataset: str, name: str) -> str:
        """A table's quoted path."""
        return ".".join(map(quote, (self.warehouse.project, dataset, name)))

    def job(self, *parts: str) -> str:
        """The prefix of a job's id, made of run, table and step."""
        return job_name("batch", self.run.run_id, *parts)


class RecordBalance(beam.DoFn):
    """Balance -> a TableLoad for each table. Dead letters are stored and the ledger is written first; where the
    equation does not hold or too much was refused, RunStopped and nothing is loaded."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def process(self, balance: Balance) -> Iterator[TableLoad]:
        target, run = self._target, self._target.run
        ensure_operations(target.warehouse, run.operations_dataset)
        self._store_dead_letters(balance.letters)
        for table, counts in balance.counts.items():
            target.ledger.record_counts(run, STAGED, table, counts)
        if balance.state is not None:
            files = sorted(shard.uri for shards in balance.shards.values() for shard in shards)
            detail = {
                "why": balance.explain(),
                "processed": files,
                "dead_letters": [file.uri for file in balance.letters],
            }
            target.ledger.record_end(run, balance.state, detail)
            raise RunStopped(balance.explain())
        for table, counts in balance.counts.items():
            letters = tuple(file for file in balance.letters if any(row[0] == table for row in file.rows))
            yield TableLoad(table, balance.shards.get(table, ()), dict(counts), letters)

    def _store_dead_letters(self, letters: tuple[LetterFile, ...]) -> None:
        if not letters:
            return
        target, dataset = self._target, self._target.run.operations_dataset
        spec = dead_letters_spec(dataset)
        uris = [file.uri for file in letters]
        staging = replace(spec, name=f"{staging_prefix(target.run.run_id)}dead_letters_{_short(*uris)}")
        schema = [_as_loaded(field) for field in spec.schema]
        target.warehouse.create_staging(replace(staging, schema=tuple(schema)), STAGING_LIFETIME)
        target.warehouse.load(uris, dataset, staging.name, schema, target.job("dead_letters", "load", _short(*uris)))
        names = [field.name for field in spec.schema]
        into, values = ", ".join(map(quote, names)), ", ".join(map(_letter_value, names))
        target.warehouse.execute(
            f"INSERT INTO {target.path(dataset, spec.name)} ({into})\nSELECT {values}\n"
            f"FROM {target.path(dataset, staging.name)} AS incoming_row WHERE NOT EXISTS (SELECT 1"
            f" FROM {target.path(dataset, spec.name)} AS existing_row"
            " WHERE existing_row.dead_letter_id = incoming_row.dead_letter_id)",
            target.job("dead_letters", "insert", _short(*uris)),
        )
        target.warehouse.drop(dataset, staging.name)


class LoadStaging(beam.DoFn):
    """TableLoad -> (TableLoad, staging table or '', job id): all shards that the committed output names, in one job."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def process(self, load: TableLoad) -> Iterator[tuple[TableLoad, str, str]]:
        target, table = self._target, self._target.tables[load.table]
        if not load.shards:
            yield load, "", ""
            return
        dataset = target.run.operations_dataset
        uris = [shard.uri for shard in load.shards]
        name = f"{staging_prefix(target.run.run_id)}{table.name}_{_short(*uris)}"
        schema = [_as_loaded(field) for field in bigquery_schema(table) if field.name != "_ingested_at"]
        target.warehouse.create_staging(TableSpec(dataset, name, tuple(schema)), STAGING_LIFETIME)
        job = target.warehouse.load(uris, dataset, name, schema, target.job(table.name, "load", _short(*uris)))
        logger.info("%s: loaded %d shards into staging", table.name, len(uris))
        yield load, name, str(job.job_id)


class Merge(beam.DoFn):
    """(TableLoad, staging, job) -> TableDone: staged rows into the table by one statement, under the table's lease."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def process(self, element: tuple[TableLoad, str, str]) -> Iterator[TableDone]:
        load, staging, load_job = element
        target, run, table = self._target, self._target.run, self._target.tables[load.table]
        dataset = target.datasets[table.name]
        leases = Leases(target.warehouse, run.operations_dataset)
        holder = leases.take(f"{dataset}.{table.name}", run.run_id, run.token)
        if holder:
            self._stop(f"table {dataset}.{table.name} is being written by run {holder.run_id}")
        with Heartbeat(leases, [f"{dataset}.{table.name}"], run.token, release=False):  # the run's, until Close
            newer = target.ledger.newer_run(table.name, run)
            if newer and table.disposition is not WriteDisposition.APPEND:
                self._stop(f"run {newer} has written {dataset}.{table.name} since this run began: start a new run")
            target.warehouse.ensure_dataset(dataset)
            target.warehouse.ensure_table(table_spec(table, dataset))
            jobs = [load_job] if load_job else []
            affected = 0
            if staging:
                merge = self._merge(table, dataset, staging)
                jobs.append(str(merge.job_id))
                affected = 0 if table.disposition is WriteDisposition.REPLACE else merge.num_dml_affected_rows or 0
            written = self._written(dataset, table.name)
            rows, staged = sum(written.values()), sum(line.staged for line in load.counts.values())
            count(RECORDS, rows, table.name, "written")
            count(RECORDS, staged - rows, table.name, "duplicate")  # of rows that the table had
            balanced = _balanced(load, written, affected)
            target.ledger.record_counts(run, LOADED, table.name, load.counts, written)
        logger.info("%s: %d rows written", table.name, rows)
        yield TableDone(
            table.name, tuple(s.uri for s in load.shards), tuple(f.uri for f in load.letters), tuple(jobs), balanced
        )

    def _merge(self, table: Table, dataset: str, staging: str) -> Any:
        target = self._target
        sql = merge_statement(
            table, target.path(dataset, table.name), target.path(target.run.operations_dataset, staging)
        )
        return target.warehouse.execute(sql, target.job(table.name, "merge"))

    def _written(self, dataset: str, name: str) -> dict[str, int]:
        """Rows that the table holds from this run, by source: what the warehouse itself says was written."""
        rows = self._target.warehouse.query(
            f"SELECT _source, COUNT(*) AS written FROM {self._target.path(dataset, name)}"
            " WHERE _run_id = @run GROUP BY _source",
            run=self._target.run.run_id,
        )
        return {row["_source"]: row["written"] for row in rows}

    def _stop(self, why: str) -> None:
        self._target.ledger.record_end(self._target.run, State.REFUSED, {"why": why})
        raise RunStopped(why)


class Close(beam.DoFn):
    """All TableDone of a run -> the line that says it is done; what failed attempts left behind is removed, and the
    leases are given back."""

    def __init__(self, target: Target, storage: Storage) -> None:
        self._target = target
        self._storage = storage

    def process(self, element: tuple[None, Iterable[TableDone]]) -> Iterator[str]:
        target, run = self._target, self._target.run
        tables = sorted(element[1])
        for name in target.warehouse.tables(run.operations_dataset, staging_prefix(run.run_id)):
            target.warehouse.drop(run.operations_dataset, name)
        for done in tables:
            self._sweep(run_folder(run.processed, done.table, run.run_id), done.shards)
            self._sweep(run_folder(run.dead_letters, done.table, run.run_id), done.letters)
        detail = {
            "processed": [uri for done in tables for uri in done.shards],
            "dead_letters": sorted({uri for done in tables for uri in done.letters}),
            "tables": [f"{target.datasets[done.table]}.{done.table}" for done in tables],
            "jobs": [job for done in tables for job in done.jobs],
        }
        unbalanced = [done.table for done in tables if not done.balanced]
        if unbalanced:
            why = f"the warehouse's count of touched rows differs from the rows it holds: {', '.join(unbalanced)}"
            target.ledger.record_end(run, State.LEDGER_BROKEN, {**detail, "why": why})
            raise RunStopped(why)
        target.ledger.record_end(run, State.DONE, detail)
        Leases(target.warehouse, run.operations_dataset).release(detail["tables"], run.token)
        yield run.run_id

    def _sweep(self, folder: str, keep: tuple[str, ...]) -> None:
        """Delete the run's files that its committed output does not name."""
        for file in _listed(self._storage, folder):
            if file not in keep:
                self._storage.delete(file)


def _listed(storage: Storage, folder: str) -> list[str]:
    try:
        return [file.uri for file in storage.list(folder)]
    except NotFound:
        return []


def _balanced(load: TableLoad, written: Mapping[str, int], affected: int) -> bool:
    """Whether the table holds of this run no more than was staged and no less than the statement touched.

    It may be more: where a crash hid a statement's success it ran again, and found nothing to do.
    """
    staged = {source: line.staged for source, line in load.counts.items()}
    return affected <= sum(written.values()) and all(
        count <= staged.get(source, 0) for source, count in written.items()
    )


def _as_loaded(field: SchemaField) -> SchemaField:
    """The field as Parquet brings it: JSON comes as its text."""
    if field.field_type != "JSON":
        return field
    return SchemaField.from_api_repr({**field.to_api_repr(), "type": "STRING"})


def _letter_value(name: str) -> str:
    value = f"incoming_row.{quote(name)}"
    return f"PARSE_JSON({value})" if name == "attributes" else value
