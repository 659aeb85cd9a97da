"""Google's clients, made in one place. Nothing else knows whether it talks to Google or to an emulator.

The clients themselves honour BIGQUERY_EMULATOR_HOST and STORAGE_EMULATOR_HOST; only the credentials differ,
since an emulator has none.
"""

from __future__ import annotations

import os

import grpc
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery, storage
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import BigQueryWriteGrpcTransport
from requests.exceptions import ConnectionError as NoConnection

__all__ = ["bigquery_client", "explained", "read_client", "storage_client", "write_client"]

STORAGE_EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""HOST:PORT of an emulator of the Storage Read and Write APIs; Google's clients know no variable for it."""
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def bigquery_client(project: str | None, location: str | None = None) -> bigquery.Client:
    """A BigQuery client with application default credentials, or none where an emulator is named."""
    host = os.environ.get("BIGQUERY_EMULATOR_HOST")
    if not host:
        return bigquery.Client(project=project, location=location)
    options = ClientOptions(api_endpoint=host if "://" in host else f"http://{host}")
    return bigquery.Client(
        project=project, location=location, credentials=AnonymousCredentials(), client_options=options
    )


def storage_client(project: str | None = None) -> storage.Client:
    """A Cloud Storage client with application default credentials, or none where an emulator is named."""
    if not os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project=project)
    return storage.Client(project=project or "local-project", credentials=AnonymousCredentials())


def write_client() -> BigQueryWriteClient:
    """A client of the Storage Write API."""
    host = os.environ.get(STORAGE_EMULATOR)
    if not host:
        return BigQueryWriteClient()
    return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=grpc.insecure_channel(host, UNLIMITED)))


def read_client() -> BigQueryReadClient:
    """A client of the Storage Read API."""
    host = os.environ.get(STORAGE_EMULATOR)
    if not host:
        return BigQueryReadClient()
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(host, UNLIMITED)))


def explained(error: Exception) -> str | None:
    """One line for what a user can mend: no credentials, no permission, no connection; None for a defect of ours."""
    if isinstance(error, GoogleAuthError):
        why = " ".join(str(error.args[0] if error.args else error).split()).split(" To set up", 1)[0].rstrip(".")
        return f"no Google credentials: {why}; gcloud auth application-default login makes some, --local needs none"
    if isinstance(error, GoogleAPICallError):
        return f"Google refuses ({error.code}): {' '.join(str(error.message).split())}"
    if isinstance(error, RetryError | NoConnection):
        return f"no connection: {str(error).splitlines()[0]}"
    return None
