"""The warehouse's end of a batch: record the balance, load, merge, close.

Each step may run again, in the same attempt or after a crash, and finds what it did before: jobs by their ids, rows by
their keys, ledger lines by what they are about.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from google.cloud.bigquery import SchemaField

from connectors.bigquery.table_spec import TableSpec
from connectors.bigquery.warehouse import JobFailed
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.ledger import LOADED, MISSING_COLUMNS, STAGED
from connectors.bookkeeping.statements import statement_id
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.files.storage import Storage
from connectors.retry import RetryPolicy
from connectors.sinks.attempt import CLOCK_MARGIN, RunStopped, is_done, stop, take_leases
from connectors.sinks.close import CloseRun, LoadedTable
from connectors.sinks.dead_letter_store import DeadLetterStore
from connectors.sinks.destination import Destination, table_spec
from connectors.sinks.merge import merge_statement
from connectors.sinks.partition_ranges import MAX_PARTITIONS, conditions, partitions_query
from connectors.sinks.quality import Partitions
from connectors.sinks.staging import STAGING_LIFETIME, as_loaded, digest, load_id, staging_prefix
from contracts.lineage import INGESTED_AT, SOURCE
from contracts.schemas import any_partition, bigquery_schema, quote
from contracts.table import Table, WriteDisposition
from transforms.ledger import Balance, DeadLetterFile, Shard
from transforms.metrics import RECORDS
from transforms.tally import FileTally

__all__ = ["LoadTables", "TableLoad"]

logger = logging.getLogger(__name__)
FENCE = RetryPolicy(300.0)
"""How long BigQuery is waited for when the write streams of a table are finalized."""


class TableLoad(NamedTuple):
    """One table's part of a balanced run: the files to load, and its ledger by source."""

    table: str
    shards: tuple[Shard, ...]
    counts: Mapping[str, FileTally]
    dead_letter_files: tuple[DeadLetterFile, ...]


class StagedTable(NamedTuple):
    """A TableLoad whose shards are in a staging table; without shards, `staging` and `job` are empty."""

    load: TableLoad
    staging: str
    job: str


@dataclass(eq=False)
class LoadTables(beam.PTransform[PCollection[Balance], PCollection[str]]):
    """Load the shards of a balanced run into their tables, each once; returns the run's id when all is done.

    Each step is a separate stage, so that a retry repeats no other step. A run that may not load (its ledger does not
    balance, or too many records were refused) raises RunStopped.

    Attributes:
        destination: The tables and the warehouse.
        storage: Where the shards are.
        dead_letters: What becomes of the refused records.
    """

    destination: Destination
    storage: Storage
    dead_letters: DeadLetterStore

    def expand(self, balances: PCollection[Balance]) -> PCollection[str]:
        run_ids: PCollection[str] = (
            balances
            | "Record balance" >> beam.ParDo(_RecordBalance(self.destination, self.dead_letters))
            | "Checkpoint balance" >> beam.Reshuffle()
            | "Load staging" >> beam.ParDo(_LoadStaging(self.destination))
            | "Checkpoint load" >> beam.Reshuffle()
            | "Merge" >> beam.ParDo(_Merge(self.destination, self.dead_letters))
            | "Key by run" >> beam.Map(lambda table: (None, table))
            | "Gather tables" >> beam.GroupByKey()
            | "Close" >> beam.ParDo(CloseRun(self.destination, self.storage))
        )
        return run_ids


class _RecordBalance(beam.DoFn):
    """Balance -> a TableLoad for each table.

    Stores the dead letters and writes the ledger first. Raises RunStopped if the run may not load.
    """

    def __init__(self, destination: Destination, dead_letters: DeadLetterStore) -> None:
        self._to = destination
        self._dead_letters = dead_letters

    def process(self, balance: Balance) -> Iterator[TableLoad]:
        to, run = self._to, self._to.run
        ensure_operations(to.warehouse, run.operations_dataset)
        self._dead_letters.store(balance.dead_letter_files)
        for table, counts in balance.counts.items():
            to.ledger.record_counts(run, STAGED, to.qualified(table), counts)
        missing = [
            {
                "table": each.table,
                "dataset": to.datasets[each.table],
                "detail": {
                    "columns": each.columns,
                    "names": each.names,
                    **({"in_other_case": dict(each.in_other_case)} if each.in_other_case else {}),
                },
            }
            for each in balance.missing_columns
        ]
        to.ledger.record(run, MISSING_COLUMNS, missing)
        if balance.state is not None:
            detail = {
                "why": balance.explain(),
                "processed": sorted(shard.uri for shards in balance.shards.values() for shard in shards),
                "dead_letters": [file.uri for file in balance.dead_letter_files],
            }
            to.ledger.record_end(run, balance.state, detail)
            raise RunStopped(balance.explain())
        for table, counts in balance.counts.items():
            files = tuple(file for file in balance.dead_letter_files if any(row[0] == table for row in file.rows))
            yield TableLoad(table, balance.shards.get(table, ()), dict(counts), files)


class _LoadStaging(beam.DoFn):
    """TableLoad -> StagedTable: loads all shards that the balance names, in one job."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination

    def process(self, load: TableLoad) -> Iterator[StagedTable]:
        to, run, table = self._to, self._to.run, self._to.tables[load.table]
        if not load.shards:
            yield StagedTable(load, "", "")
            return
        uris = [shard.uri for shard in load.shards]
        name = f"{staging_prefix(run.run_id, to.datasets.values())}{table.name}_{digest(*uris)}"
        schema = [as_loaded(field) for field in bigquery_schema(table) if field.name != INGESTED_AT]
        to.warehouse.create_staging(TableSpec(run.operations_dataset, name, tuple(schema)), STAGING_LIFETIME)
        step = load_id(run.run_id, table.name, f"{run.operations_dataset}.{name}", uris)
        job = to.warehouse.load(uris, run.operations_dataset, name, schema, step)
        logger.info("%s: loaded %d shards into staging", table.name, len(uris))
        yield StagedTable(load, name, str(job.job_id))


class _Merge(beam.DoFn):
    """StagedTable -> LoadedTable: moves staged rows into the table by one statement, which carries the table's lease.

    Before the statement reads the table, the write streams of the table are finalized: a stream that lost its lease
    without noticing must take its buckets again, and meets this run's name on the lease.
    """

    def __init__(self, destination: Destination, dead_letters: DeadLetterStore) -> None:
        self._to = destination
        self._dead_letters = dead_letters

    def process(self, element: StagedTable) -> Iterator[LoadedTable]:
        load, staging, load_job = element
        to, run, table = self._to, self._to.run, self._to.tables[load.table]
        dataset, name = to.datasets[table.name], to.qualified(table.name)
        take_leases(to, [table.name])
        with Heartbeat(to.leases, [name], run.token, release=False):  # Close releases the run's leases
            if is_done(to):  # a newer attempt wrote that before it released the lease
                to.leases.release([name], run.token)
                raise RunStopped(f"another attempt of run {run.run_id} has finished it")
            newer = to.ledger.newer_run(name, run)
            if newer and table.disposition is not WriteDisposition.APPEND:
                stop(to, f"run {newer} has written {name} since this run began: start a new run")
            to.warehouse.ensure_dataset(dataset)
            stored = to.warehouse.ensure_table(table_spec(table, dataset)).schema
            WriteStreams(to.warehouse, run.operations_dataset, run.run_id, FENCE).fence(name)
            jobs = [load_job] if load_job else []
            affected = 0
            if staging:
                merge = self._merge(table, dataset, stored, staging, sum(each.written for each in load.counts.values()))
                jobs.append(str(merge.job_id))
                affected = 0 if table.disposition is WriteDisposition.REPLACE else merge.num_dml_affected_rows or 0
            written, partitions = self._written(dataset, table)
            rows, staged = sum(written.values()), sum(counts.written for counts in load.counts.values())
            metrics = run.state.metrics
            metrics.count(RECORDS, rows, table.name, "written")
            metrics.count(RECORDS, staged - rows, table.name, "duplicate")  # of rows that the table had before
            balanced = _balanced(load, written, affected)
            self._dead_letters.loaded(table)
            to.ledger.record_counts(run, LOADED, name, load.counts, written)
        logger.info("%s: %d rows written", table.name, rows)
        yield LoadedTable(
            table.name,
            tuple(shard.uri for shard in load.shards),
            tuple(file.uri for file in load.dead_letter_files),
            tuple(jobs),
            balanced,
            partitions,
        )

    def _merge(self, table: Table, dataset: str, stored: Sequence[SchemaField], staging: str, staged_rows: int) -> Any:
        to = self._to
        operations, run, name = to.run.operations_dataset, to.run, to.qualified(table.name)
        target, source = to.path(dataset, table.name), to.path(operations, staging)
        ranges = self._ranges(table, dataset, staging, staged_rows)
        sql = merge_statement(
            table, target, source, to.lease_condition(table.name), ranges, self._dead_letters.since(table), stored
        )
        try:
            return to.warehouse.execute(sql, statement_id(operations, name, run.run_id, run.token))
        except JobFailed:
            if not to.leases.held([name], run.token):
                take_leases(to, [table.name])  # if another run holds the lease, that is the reason to report
            raise

    def _ranges(self, table: Table, dataset: str, staging: str, staged_rows: int) -> list[str]:
        """Return the ranges of partitions to load one after the other; [] if one statement takes all of them."""
        to, warehouse = self._to, self._to.warehouse
        if table.partition is None:
            return []
        queries = []
        if staged_rows >= MAX_PARTITIONS:
            queries.append(partitions_query(table, to.path(to.run.operations_dataset, staging)))
        if table.disposition is WriteDisposition.REPLACE:
            existing = warehouse.existing(dataset, table.name)
            if existing and (existing.num_rows or 0) + staged_rows >= MAX_PARTITIONS:
                condition = " AND ".join(any_partition(table)) or "TRUE"
                queries.append(partitions_query(table, to.path(dataset, table.name), condition))
        return conditions(table, sorted({row["begin"] for sql in queries for row in warehouse.query(sql)}))

    def _written(self, dataset: str, table: Table) -> tuple[dict[str, int], Partitions]:
        """Count the rows that the table holds from this run, by source: what the warehouse itself says was written.

        Also return the first and last value of the partition column in them, if the table has rules that use it.
        `_ingested_at` is BigQuery's clock and the run's start this machine's, hence CLOCK_MARGIN. A clock that is more
        wrong than that hides rows, and the run says that its ledger does not balance.
        """
        spans = table.partition is not None and bool(table.rules)
        column = quote(table.partition or "_")
        span = f", CAST(MIN({column}) AS STRING) AS least, CAST(MAX({column}) AS STRING) AS greatest" if spans else ""
        filters = " AND ".join(["_run_id = @run", "_ingested_at >= @since", *any_partition(table)])
        rows = self._to.warehouse.query(
            f"SELECT _source, COUNT(*) AS written{span} FROM {self._to.path(dataset, table.name)}"
            f" WHERE {filters} GROUP BY _source",
            run=self._to.run.run_id,
            since=self._to.run.started_at - CLOCK_MARGIN,
        )
        ends = [(row["least"], row["greatest"]) for row in rows if spans and row["least"] is not None]
        partitions = (min(least for least, _ in ends), max(greatest for _, greatest in ends)) if ends else None
        return {row[SOURCE]: row["written"] for row in rows}, partitions


def _balanced(load: TableLoad, written: Mapping[str, int], affected: int) -> bool:
    """Whether the table holds no more rows of this run than were staged, and no fewer than the statement touched.

    It may hold more than the statement touched: if a crash hid its success, the statement ran again and found nothing
    to do.
    """
    staged = {source: counts.written for source, counts in load.counts.items()}
    return affected <= sum(written.values()) and all(rows <= staged.get(source, 0) for source, rows in written.items())
