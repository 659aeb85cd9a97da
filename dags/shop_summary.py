"""The launcher's summary of a run. It is stored in the bucket because tasks share no disk."""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException
from google.api_core.exceptions import NotFound

from shop_settings import SETTINGS

__all__ = ["DATAFLOW", "read_summary", "run_name", "split", "summary_uri"]

DATAFLOW = "DataflowRunner"
POLL_SECONDS = 10


def run_name(pipeline: str) -> str:
    """Return a name for the current DAG run: the same in every try, different for every run."""
    run_id = get_current_context()["run_id"]
    digest = hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()
    return f"{pipeline}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', run_id)[:80]}-{digest}"


def summary_uri(pipeline: str) -> str:
    """Return the gs:// path of this run's summary."""
    return f"{SETTINGS.bucket}/summaries/{run_name(pipeline)}.json"


def read_summary(pipeline: str, dataflow_seconds: float) -> dict[str, Any]:
    """Return the summary of this run.

    On Dataflow it waits up to `dataflow_seconds`, because the operator leaves the launcher once Dataflow has the job.

    Raises:
        AirflowFailException: There is no summary.
    """
    uri = summary_uri(pipeline)
    bucket, name = split(uri)
    hook = GCSHook(gcp_conn_id=SETTINGS.connection)
    seconds = dataflow_seconds if get_current_context()["params"]["runner"] == DATAFLOW else 0
    deadline = time.monotonic() + seconds
    while True:
        try:
            summary: dict[str, Any] = json.loads(hook.download(bucket_name=bucket, object_name=name))
            return summary
        except NotFound:
            if time.monotonic() >= deadline:
                raise AirflowFailException(f"{uri} does not exist: the log of the launcher's task says why") from None
            time.sleep(POLL_SECONDS)


def split(uri: str) -> tuple[str, str]:
    """Split gs://BUCKET/NAME into (BUCKET, NAME)."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name
