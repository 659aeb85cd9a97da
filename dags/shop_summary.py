"""What a launcher did, in the bucket, since tasks share no disk."""

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
    """A name for the run of the Dag in whose task this is called: the same in every try, another for another run."""
    run_id = get_current_context()["run_id"]
    digest = hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()
    return f"{pipeline}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', run_id)[:80]}-{digest}"


def summary_uri(pipeline: str) -> str:
    """Where the launcher of this run writes what happened."""
    return f"{SETTINGS.bucket}/summaries/{run_name(pipeline)}.json"


def read_summary(pipeline: str, dataflow_seconds: float) -> dict[str, Any]:
    """The summary; the task fails for good where there is none.

    On Dataflow it is waited for so long: the operator leaves the launcher once Dataflow has the job.
    """
    uri = summary_uri(pipeline)
    bucket, name = split(uri)
    hook = GCSHook(gcp_conn_id=SETTINGS.connection)
    waits = dataflow_seconds if get_current_context()["params"]["runner"] == DATAFLOW else 0
    deadline = time.monotonic() + waits
    while True:
        try:
            found = json.loads(hook.download(bucket_name=bucket, object_name=name))
            assert isinstance(found, dict)
            return found
        except NotFound:
            if time.monotonic() >= deadline:
                raise AirflowFailException(f"there is no {uri}: the log of the launcher's task says why") from None
            time.sleep(POLL_SECONDS)


def split(uri: str) -> tuple[str, str]:
    """gs://BUCKET/NAME -> (BUCKET, NAME)."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name
