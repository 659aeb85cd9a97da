"""One owner a bucket: a process that takes a bucket of a table finalizes every other write stream of it.

To take a bucket: create a write stream, enter it in `write_streams`, finalize every other stream of the bucket, and
only then read what the table holds. Of two owners that take it at the same time, at least one sees the entry of the
other and finalizes its stream: no row is appended unnoticed after the table was read. A batch that takes a table
finalizes the streams of all its buckets before its statement reads the table. An owner looks at the lease after its
entry, so either it sees the batch, or the batch sees its stream.

Only BigQuery's answer proves that a stream is finalized. NOT_FOUND does not: a stream that was just created may be
unknown for a moment to the server that answers, and be appended to through another one. It counts only for a stream
that is older than UNKNOWN_AGE_SECONDS and was unknown in every answer for UNKNOWN_SECONDS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
from google.api_core.exceptions import Aborted, BadRequest
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from connectors.bigquery.append_stream import AppendStream, finalize
from connectors.bigquery.warehouse import Warehouse
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy, pauses
from connectors.shared_calls import SharedCalls

__all__ = ["Bucket", "WriteStreams"]

UNKNOWN_AGE_SECONDS = 60.0
"""How old a stream must be before NOT_FOUND can mean that it is gone. Reports of young streams say seconds."""
UNKNOWN_SECONDS = 5.0
"""How long BigQuery must answer NOT_FOUND, each time it is asked."""
AGE = "TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), created_at, SECOND) AS age"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A write stream in the table, and how old it was when it was read, in seconds."""

    stream: str
    age: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """One of the `buckets` that the rows of one table are split into.

    `lane` is the dataset.table that the rows were meant for: the table itself, or that of a dead letter.
    """

    dataset: str
    table: str
    lane: str
    buckets: int
    bucket: int


class WriteStreams:
    """Takes buckets for one run, and finalizes write streams."""

    def __init__(
        self,
        warehouse: Warehouse,
        dataset: str,
        run_id: str,
        retry: RetryPolicy,
        on_retry: Callable[[], None] = lambda: None,
        calls: SharedCalls | None = None,
    ) -> None:
        """`on_retry` is called before each retry of an append.

        `calls` are those of the process: buckets that are taken at the same time share their statements.
        """
        self._on_retry = on_retry
        self._calls = calls or SharedCalls()
        self._warehouse = warehouse
        self._name = f"`{warehouse.project}.{dataset}.write_streams`"
        self._run_id = run_id
        self._retry = retry

    def take(self, client: BigQueryWriteClient, bucket: Bucket, schema: pa.Schema) -> AppendStream:
        """Become the owner of `bucket`: return a new write stream, after every other one was finalized.

        Raises DeadlineExceeded.
        """
        table = f"projects/{self._warehouse.project}/datasets/{bucket.dataset}/tables/{bucket.table}"
        stream = AppendStream.create(
            client,
            table,
            schema,
            self._retry,
            self._on_retry,
            lambda: self._warehouse.existing(bucket.dataset, bucket.table) is not None,
        )
        about = self._name, bucket.dataset, bucket.table, bucket.lane, bucket.buckets
        self._calls.result(("enter", *about), (bucket, stream.name), self._enter)
        entries = self._calls.result(("entered", *about), bucket, self._entered)
        others = [entry for entry in entries if entry.stream != stream.name]
        self._finalize(client, others)
        if others:
            self._calls.result(("remove", *about), others, self._remove)
        return stream

    def _enter(self, taken: Sequence[tuple[Bucket, str]]) -> list[None]:
        """Enter the streams of buckets of one table."""
        table, rows = taken[0][0], range(len(taken))
        row = "(@name, @lane, @buckets, @bucket_{n}, @stream_{n}, @run, CURRENT_TIMESTAMP())"
        self._warehouse.update(
            f"INSERT INTO {self._name} (`table`, lane, buckets, bucket, stream, run_id, created_at)"
            f" VALUES {', '.join(row.format(n=n) for n in rows)}",
            name=f"{table.dataset}.{table.table}",
            lane=table.lane,
            buckets=table.buckets,
            run=self._run_id,
            **{f"bucket_{n}": taken[n][0].bucket for n in rows},
            **{f"stream_{n}": taken[n][1] for n in rows},
        )
        return [None] * len(taken)

    def _entered(self, buckets: Sequence[Bucket]) -> list[list[_Entry]]:
        """Return the entries of each of several buckets of one table."""
        table = buckets[0]
        rows = self._warehouse.query(
            f"SELECT bucket, stream, {AGE} FROM {self._name} WHERE `table` = @name AND lane = @lane"
            " AND bucket IN UNNEST(@buckets)",
            name=f"{table.dataset}.{table.table}",
            lane=table.lane,
            buckets=[bucket.bucket for bucket in buckets],
        )
        return [
            [_Entry(row["stream"], row["age"]) for row in rows if row["bucket"] == bucket.bucket] for bucket in buckets
        ]

    def buckets(self, lane: str) -> int | None:
        """Return the number of buckets that the owners of a stream table use; None if no owner may still append."""
        rows = self._warehouse.query(f"SELECT MAX(buckets) AS n FROM {self._name} WHERE lane = @lane", lane=lane)
        return rows[0]["n"] if rows else None

    def fence(self, lane: str) -> None:
        """Finalize every write stream of a stream table: its owners must take their buckets again before they append.

        The entries stay, so the number of buckets stays known. Raises DeadlineExceeded.
        """
        entries = self._entries(lane)
        if entries:
            client = write_client()
            try:
                self._finalize(client, entries)
            finally:
                client.transport.close()

    def finalize_all(self, client: BigQueryWriteClient, lane: str) -> None:
        """Finalize every write stream of a stream table, and forget its number of buckets."""
        entries = self._entries(lane)
        self._finalize(client, entries)
        if entries:
            self._remove([entries])

    def _entries(self, lane: str) -> list[_Entry]:
        return [
            _Entry(**row)
            for row in self._warehouse.query(f"SELECT stream, {AGE} FROM {self._name} WHERE lane = @lane", lane=lane)
        ]

    def _finalize(self, client: BigQueryWriteClient, entries: Sequence[_Entry]) -> None:
        """Finalize streams; return when no append to any of them can take effect."""
        began, waits = time.monotonic(), pauses(0.1, 2.0)
        unknown = [entry for entry in entries if not finalize(client, entry.stream, self._retry)]
        while unknown:
            passed = time.monotonic() - began
            needed = {entry: max(UNKNOWN_SECONDS, UNKNOWN_AGE_SECONDS - max(0.0, entry.age)) for entry in unknown}
            unknown = [
                entry for entry in unknown if not finalize(client, entry.stream, self._retry) and passed < needed[entry]
            ]
            if unknown:
                time.sleep(next(waits))

    def _remove(self, entries: Sequence[Sequence[_Entry]]) -> list[None]:
        """Remove the entries of several buckets."""
        # A concurrent DELETE of another owner: the next owner finds these rows again.
        with suppress(BadRequest, Aborted):
            self._warehouse.update(
                f"DELETE FROM {self._name} WHERE stream IN UNNEST(@streams)",
                streams=[entry.stream for of_bucket in entries for entry in of_bucket],
            )
        return [None] * len(entries)
