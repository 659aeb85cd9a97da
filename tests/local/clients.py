"""Clients of the emulated services, as the tests of this folder use them."""

from __future__ import annotations

import grpc
import pyarrow as pa
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport

from local.services import Endpoints

__all__ = ["PROJECT", "Appender", "bigquery_client", "rows_of", "storage_client"]

PROJECT = "local-project"


def bigquery_client(endpoints: Endpoints) -> bigquery.Client:
    """A client of the REST API that tries once and no more."""
    options = ClientOptions(api_endpoint=endpoints.environment()["BIGQUERY_EMULATOR_HOST"])
    return bigquery.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)


def storage_client(endpoints: Endpoints) -> storage.Client:
    """A client of Cloud Storage."""
    options = ClientOptions(api_endpoint=endpoints.environment()["STORAGE_EMULATOR_HOST"])
    return storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)


def rows_of(client: bigquery.Client, sql: str) -> list[tuple[object, ...]]:
    """A query's rows."""
    return [tuple(row.values()) for row in client.query(sql, retry=None, job_retry=None).result(retry=None)]


class Appender:
    """One write stream of a table and the connection to it."""

    def __init__(self, address: str, table: str, kind: types.WriteStream.Type) -> None:
        self._channel = grpc.insecure_channel(address)
        self.client = BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=self._channel))
        parent = "projects/{}/datasets/{}/tables/{}".format(*table.split("."))
        stream = types.WriteStream(type_=kind)
        self.stream: str = self.client.create_write_stream(parent=parent, write_stream=stream).name

    def request(self, rows: pa.RecordBatch, offset: int) -> types.AppendRowsRequest:
        """To append the rows at the offset."""
        request = types.AppendRowsRequest(write_stream=self.stream, offset=offset)
        request.arrow_rows.writer_schema.serialized_schema = rows.schema.serialize().to_pybytes()
        request.arrow_rows.rows.serialized_record_batch = rows.serialize().to_pybytes()
        return request

    def append(self, rows: pa.RecordBatch, *offsets: int) -> list[int]:
        """Append the same rows at each of the offsets, over one connection; the answers' codes, 0 for done."""
        requests = [self.request(rows, offset) for offset in offsets]
        return [answer.error.code for answer in self.client.append_rows(iter(requests))]

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
