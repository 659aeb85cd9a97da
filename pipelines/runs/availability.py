"""Whether the services that a run needs answer, before it begins: they are waited for, not long and not in silence."""

from __future__ import annotations

from collections.abc import Callable

from google.api_core.exceptions import GoogleAPICallError
from google.api_core.retry import Retry
from google.cloud import bigquery

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage, split_uri
from connectors.google.errors import reported
from contracts.errors import Unavailable

__all__ = ["PATIENCE_SECONDS", "wait_for_bigquery", "wait_for_storage"]

PATIENCE_SECONDS = 30.0
"""How long a service that does not answer is asked again before a run begins; a scheduler may try again later."""
LONGEST_PAUSE_SECONDS = 5.0


def wait_for_storage(storage: Storage, folder: str, log: Callable[[str], None]) -> None:
    """Return when Cloud Storage has answered for the bucket of `folder`, whatever it says; a local folder is there.

    Raises Unavailable if it has not within PATIENCE_SECONDS, another ReportedError for what asking again will not
    change, such as refused credentials.
    """
    if folder.startswith("gs://"):
        bucket = storage.client.bucket(split_uri(folder)[0])
        _wait("Cloud Storage", lambda retry: bucket.exists(retry=retry), log)


def wait_for_bigquery(warehouse: Warehouse, dataset: str, log: Callable[[str], None]) -> None:
    """The same for BigQuery, asked for a dataset, which may or may not exist."""
    reference = bigquery.DatasetReference(warehouse.project, dataset)
    _wait("BigQuery", lambda retry: warehouse.client.get_dataset(reference, retry=retry), log)


def _wait(service: str, ask: Callable[[Retry], object], log: Callable[[str], None]) -> None:
    def report(error: Exception) -> None:
        log(f"{service}: {reported(error)}; asking again for {PATIENCE_SECONDS:g} s")

    retry = Retry(
        predicate=lambda error: isinstance(reported(error), Unavailable),
        initial=0.5,
        maximum=LONGEST_PAUSE_SECONDS,
        timeout=PATIENCE_SECONDS,
        on_error=report,
    )
    try:
        ask(retry)
    except GoogleAPICallError as error:
        if isinstance(reported(error), Unavailable):
            raise
        # It has answered. What it said is met again, and reported, by the request that needs it.
