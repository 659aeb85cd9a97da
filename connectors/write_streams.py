"""One owner a bucket: whoever takes a bucket of a table makes an end of every write stream that another had for it.

To take a bucket: make a stream, enter it in `write_streams`, finalize every other stream of the bucket, and only
then read what the table holds. Of two owners that take it at once, at least one sees the other's entry and ends
its stream, so no row is appended behind the back of whoever read the table last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from google.api_core.exceptions import Aborted, BadRequest
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from connectors.append_stream import AppendStream, finalize
from connectors.patience import Patience
from connectors.warehouse import TableSpec, Warehouse

__all__ = ["Bucket", "WriteStreams", "write_streams_spec"]


def write_streams_spec(dataset: str) -> TableSpec:
    """The table `write_streams`: the streams that may still be appended to."""
    return TableSpec(
        dataset,
        "write_streams",
        (
            SchemaField("table", "STRING", "REQUIRED", description="dataset.table that the stream appends to"),
            SchemaField("lane", "STRING", "REQUIRED", description="Whose rows: dataset.table of the stream pipeline"),
            SchemaField("buckets", "INTEGER", "REQUIRED", description="Buckets that the lane's keys are split into"),
            SchemaField("bucket", "INTEGER", "REQUIRED"),
            SchemaField("stream", "STRING", "REQUIRED", description="Name of the write stream"),
            SchemaField("run_id", "STRING", "REQUIRED", description="The run that made it"),
            SchemaField("created_at", "TIMESTAMP", "REQUIRED"),
        ),
        description="Write streams of a stream pipeline, by bucket; each is finalized by the bucket's next owner",
    )


@dataclass(frozen=True, slots=True)
class Bucket:
    """One of the `buckets` that the rows for one table are split into.

    `lane` names whose rows: the table of rows itself, or, in `dead_letters`, the table that they were meant for.
    """

    dataset: str
    table: str
    lane: str
    buckets: int
    bucket: int


class WriteStreams:
    """Takes buckets."""

    def __init__(self, warehouse: Warehouse, dataset: str, run_id: str, patience: Patience) -> None:
        self._warehouse = warehouse
        self._name = f"`{warehouse.project}.{dataset}.write_streams`"
        self._run_id = run_id
        self._patience = patience

    def take(self, client: BigQueryWriteClient, bucket: Bucket, schema: pa.Schema) -> AppendStream:
        """Become the owner of `bucket`: a new stream of its own; every other one is finalized when this returns."""
        table = f"projects/{self._warehouse.project}/datasets/{bucket.dataset}/tables/{bucket.table}"
        stream = AppendStream.create(client, table, schema, self._patience)
        self._warehouse.update(
            f"INSERT INTO {self._name} (`table`, lane, buckets, bucket, stream, run_id, created_at)"
            " VALUES (@name, @lane, @buckets, @bucket, @stream, @run, @now)",
            name=f"{bucket.dataset}.{bucket.table}", lane=bucket.lane, buckets=bucket.buckets, bucket=bucket.bucket,
            stream=stream.name, run=self._run_id, now=datetime.now(UTC),
        )  # fmt: skip
        others = self._warehouse.query(
            f"SELECT stream FROM {self._name} WHERE `table` = @name AND lane = @lane AND bucket = @bucket"
            " AND stream != @stream",
            name=f"{bucket.dataset}.{bucket.table}", lane=bucket.lane, bucket=bucket.bucket, stream=stream.name,
        )  # fmt: skip
        self._end(client, [row["stream"] for row in others])
        return stream

    def buckets(self, lane: str) -> int | None:
        """Into how many buckets the lane's rows are split by owners that may still append; None if there is none."""
        rows = self._warehouse.query(f"SELECT MAX(buckets) AS n FROM {self._name} WHERE lane = @lane", lane=lane)
        return rows[0]["n"] if rows else None

    def end_all(self, client: BigQueryWriteClient, lane: str) -> None:
        """Finalize every stream of a lane: nobody appends to it any more."""
        rows = self._warehouse.query(f"SELECT stream FROM {self._name} WHERE lane = @lane", lane=lane)
        self._end(client, [row["stream"] for row in rows])

    def _end(self, client: BigQueryWriteClient, streams: list[str]) -> None:
        for stream in streams:
            finalize(client, stream, self._patience)
        if streams:
            try:
                self._warehouse.update(f"DELETE FROM {self._name} WHERE stream IN UNNEST(@streams)", streams=streams)
            except (BadRequest, Aborted):  # other owners delete theirs meanwhile; the next owner finds these again
                return
