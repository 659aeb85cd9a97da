"""Google's clients, created in one place. No other module knows whether it talks to Google or to an emulator.

The clients themselves respect BIGQUERY_EMULATOR_HOST and STORAGE_EMULATOR_HOST; only the credentials differ, since an
emulator needs none.
"""

from __future__ import annotations

import os

import grpc
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport

from connectors.google.watched_http import watch

__all__ = ["bigquery_client", "read_client", "storage_client", "write_client"]

STORAGE_EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""HOST:PORT of an emulator of the Storage Read and Write APIs. Google's clients have no variable for it."""
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def bigquery_client(project: str | None, location: str | None = None) -> bigquery.Client:
    """Return a BigQuery client with application default credentials, without credentials for an emulator."""
    host = os.environ.get("BIGQUERY_EMULATOR_HOST")
    if host:
        options = ClientOptions(api_endpoint=host if "://" in host else f"http://{host}")
        client = bigquery.Client(
            project=project, location=location, credentials=AnonymousCredentials(), client_options=options
        )
    else:
        client = bigquery.Client(project=project, location=location)
    watch(client._http, "BigQuery")
    return client


def storage_client(project: str | None = None) -> storage.Client:
    """Return a Cloud Storage client with application default credentials, without credentials for an emulator."""
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        client = storage.Client(project=project or "local-project", credentials=AnonymousCredentials())
    else:
        client = storage.Client(project=project)
    watch(client._http, "Cloud Storage")
    return client


def write_client() -> BigQueryWriteClient:
    """Return a client of the Storage Write API."""
    host = os.environ.get(STORAGE_EMULATOR)
    if not host:
        return BigQueryWriteClient()
    return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=grpc.insecure_channel(host, UNLIMITED)))


def read_client() -> BigQueryReadClient:
    """Return a client of the Storage Read API."""
    host = os.environ.get(STORAGE_EMULATOR)
    if not host:
        return BigQueryReadClient()
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(host, UNLIMITED)))
