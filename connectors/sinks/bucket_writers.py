"""The bucket writers of a stream: one for each bucket of each table, and one for each table's dead letters."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import pyarrow as pa

from connectors.bigquery.clock import RunClock
from connectors.bigquery.table_spec import TableSpec, lacking
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.specs import spec_of
from connectors.bookkeeping.write_streams import Bucket, WriteStreams
from connectors.retry import RetryPolicy
from connectors.shared_calls import SharedCalls
from connectors.sinks.bucket_writer import BucketWriter, Writer
from connectors.sinks.destination import Destination, table_spec
from connectors.sinks.stored_keys import ChangeKeys, DeadLetterKeys, Progress, RowKeys, StoredKeys
from contracts.bookkeeping import DEAD_LETTERS
from contracts.changes import changes_of, takes_updates
from contracts.schemas import arrow_schema
from transforms.dead_letters import DEAD_LETTER
from transforms.metrics import APPEND_RETRIES

__all__ = ["BucketWriters", "LeaseLost", "OwnedBuckets", "Writers"]

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another run writes the table now."""


class OwnedBuckets:
    """The bucket writers of a run in this process: one for each bucket, because a runner moves keys between instances
    of a DoFn. A part of the run's state.
    """

    def __init__(self) -> None:
        self._writers: dict[Bucket, BucketWriter] = {}
        self._lock = threading.Lock()

    def writer(self, bucket: Bucket, create: Callable[[], BucketWriter]) -> BucketWriter:
        """Return the writer of a bucket, created on first use."""
        with self._lock:
            writer = self._writers.get(bucket)
            if writer is None:
                writer = self._writers[bucket] = create()
            return writer

    def close(self) -> None:
        """Drop the connections of all writers."""
        with self._lock:
            writers = list(self._writers.values())
        for writer in writers:
            writer.close()


class Writers(Protocol):
    """Where the steps of a stream write. It pickles; a process has one Writer for each bucket."""

    @property
    def buckets(self) -> int:
        """The number of buckets of each table."""
        ...

    def rows_writer(self, table: str, bucket: int) -> Writer:
        """The writer of one bucket of a table's rows."""
        ...

    def dead_letters_writer(self, table: str) -> Writer:
        """The writer of a table's dead letters."""
        ...


@dataclass(frozen=True)
class BucketWriters:
    """Writers for BigQuery.

    `horizon` is how long a primary key is known, `retry` how long BigQuery is waited for. `progress` returns how far
    the group has come; it is called when a bucket is taken.
    """

    destination: Destination
    buckets: int
    horizon: timedelta
    retry: RetryPolicy
    progress: Callable[[], Progress]

    def rows_writer(self, table: str, bucket: int) -> BucketWriter:
        """The writer of one bucket of a table's rows in this process."""
        to = self.destination
        contract, dataset = to.tables[table], to.datasets[table]
        keys: StoredKeys = RowKeys(to.warehouse, self.retry, contract, self.horizon, to.run.state.part(SharedCalls))
        if takes_updates(contract):
            contract, keys = changes_of(contract), ChangeKeys(to.warehouse, self.retry)
        where = Bucket(dataset, contract.name, to.qualified(table), self.buckets, bucket)

        def make() -> BucketWriter:
            return self._make(table, where, arrow_schema(contract), keys, table_spec(contract, dataset))

        return to.run.state.part(OwnedBuckets).writer(where, make)

    def dead_letters_writer(self, table: str) -> BucketWriter:
        """The writer of a table's dead letters in this process."""
        to = self.destination
        dataset = to.run.operations_dataset
        where = Bucket(dataset, "dead_letters", to.qualified(table), 1, 0)
        keys = DeadLetterKeys(to.warehouse, self.retry)

        def make() -> BucketWriter:
            return self._make(table, where, DEAD_LETTER, keys, spec_of(DEAD_LETTERS, dataset))

        return to.run.state.part(OwnedBuckets).writer(where, make)

    def take_buckets(self) -> None:
        """Take every bucket, in a process that is the only one of its job.

        A bucket that cannot be taken now is taken by its first append, or that append raises.
        """
        tables = self.destination.tables
        writers = [
            *(self.rows_writer(table, bucket) for table in tables for bucket in range(self.buckets)),
            *(self.dead_letters_writer(table) for table in tables),
        ]

        def take(writer: BucketWriter) -> None:
            try:
                writer.take()
            except Exception:
                logger.debug("a bucket is not taken yet", exc_info=True)

        # At once: each takes some statements, and BigQuery needs seconds for one. Daemons, which do not delay an exit.
        threads = [threading.Thread(target=take, args=(writer,), daemon=True) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _make(self, table: str, where: Bucket, schema: pa.Schema, keys: StoredKeys, spec: TableSpec) -> BucketWriter:
        warehouse, run, name = self.destination.warehouse, self.destination.run, self.destination.qualified(table)
        metrics, calls = run.state.metrics, run.state.part(SharedCalls)
        streams = WriteStreams(
            warehouse, run.operations_dataset, run.run_id, self.retry, lambda: metrics.count(APPEND_RETRIES, 1), calls
        )

        def holders(buckets: Sequence[int]) -> list[str | None]:
            return [Leases(warehouse, run.operations_dataset).other_holder(name, run.token)] * len(buckets)

        def check_lease() -> None:
            other = calls.result(("lease", name), where.bucket, holders)
            if other is not None:
                raise LeaseLost(f"table {name} is being written by run {other}")

        def check_table() -> None:
            table_now = warehouse.check_table(spec)
            names = [column.path for column in lacking(spec, table_now)] if table_now else []
            if table_now is None or names:
                problem = f"lacks the columns {', '.join(names)}" if table_now else "does not exist"
                raise ValueError(f"table {spec.dataset}.{spec.name} {problem}")

        return BucketWriter(
            where,
            schema,
            streams,
            keys,
            self.horizon,
            lambda: calls.result("progress", where.bucket, lambda buckets: [self.progress()] * len(buckets)),
            check_lease,
            check_table,
            clock=RunClock(warehouse, run),
            metrics=metrics,
        )
