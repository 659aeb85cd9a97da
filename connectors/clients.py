"""Google's clients, made in one place. Nothing else knows whether it talks to Google or to an emulator.

The clients themselves honour BIGQUERY_EMULATOR_HOST and STORAGE_EMULATOR_HOST; only the credentials differ,
since an emulator has none.
"""

from __future__ import annotations

import os

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

__all__ = ["bigquery_client", "storage_client"]


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
