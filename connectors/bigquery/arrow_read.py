"""Read a table as Arrow, by the Storage Read API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from connectors.google.clients import read_client

__all__ = ["read_batches"]


def read_batches(
    project: str, dataset: str, table: str, columns: Sequence[str], restriction: str = ""
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table that meet `restriction`, a condition in SQL, in batches of the server's choice.

    Raises Google's errors.
    """
    client = read_client()
    request = types.ReadSession(
        table=f"projects/{project}/datasets/{dataset}/tables/{table}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=list(columns), row_restriction=restriction),
    )
    session = client.create_read_session(parent=f"projects/{project}", read_session=request)
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    for stream in session.streams:
        for page in client.read_rows(stream.name):
            if data := page.arrow_record_batch.serialized_record_batch:
                yield pa.ipc.read_record_batch(pa.py_buffer(data), schema)
