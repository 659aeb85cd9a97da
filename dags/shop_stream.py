"""The stream, kept alive on Flink or on Dataflow: one task, again and again, that changes nothing while all is well.

`stream` runs `launcher.py --pipeline=stream --ensure_running`, and leaves when the job runs:

- no job of the name runs, or the last one has failed or was killed: it is started, and goes on where that one stopped;
- one of this version runs: it is left as it is;
- one of another version runs, of the code or of a contract: it is drained and a new one started (Flink), or a new one
  takes its place (Dataflow), after all that can be checked of the new one was checked.

`summary` has in XCom which of them it was (`did`), the job, the lag by partition and the last line of the ledger.

The launcher's exit code and its message are in the log of `stream`: 1 failed, 2 misuse. 2 is not tried again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task
from shop_launcher import launcher, launcher_options
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, read_summary

JOB_NAME = "shop-stream"
SUMMARY_SECONDS = 600
"""On Dataflow the launcher writes the summary when the job runs, which takes some minutes."""


@task
def options() -> dict[str, Any]:
    """The launcher's options, as the operator takes them."""
    return launcher_options("stream", {"ensure_running": True, "job_name": JOB_NAME, **SETTINGS.stream_options})


@task(retries=0)
def summary() -> dict[str, Any]:
    """What was done, and how the stream is, for XCom."""
    return read_summary("stream", SUMMARY_SECONDS)


@dag(
    schedule=SETTINGS.stream_schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["shop", "stream", "beam"],
    default_args={"owner": "shop", "retries": 2, "retry_delay": SETTINGS.retry_delay},
    params={
        "runner": Param(SETTINGS.stream_runner, enum=["FlinkRunner", DATAFLOW], description="Where the job is"),
        "options": Param({}, type="object", description="Further options of the launcher, in snake_case"),
    },
)
def shop_stream() -> None:
    """stream -> summary."""
    stream = launcher("stream", options(), job_name=JOB_NAME, append_job_name=False)
    stream >> summary()


shop_stream()
