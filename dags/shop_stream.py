"""Keeps the stream running on Flink or on Dataflow: one task on a schedule, which changes nothing while all is well.

`stream` runs `launcher.py --pipeline=stream --ensure_running`, and ends when the job runs:

- No job of this name runs, or the last one failed or was killed: start it. It continues where the last one stopped.
- A job of this version runs: keep it.
- A job of another version (of the code or of a contract) runs: replace it. First check all that can be checked of the
  new job. Then, on Flink, drain the old job and start the new one; on Dataflow, update the job.

The XCom of `summary` has the action taken (`action`), the job, the lag of each partition and the newest ledger line.

The log of `stream` has the launcher's exit code and message: 1 failed, 2 wrong usage or a conflict, 5 a service does
not answer. Code 2 is final; 1 and 5 are retried.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from shop_allowed import RUN_OPTIONS
from shop_launcher import launcher, launcher_options
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, read_summary

JOB_NAME = "shop-stream"
SUMMARY_SECONDS = 600
"""On Dataflow the launcher writes the summary once the job runs, after some minutes."""


@task
def options() -> dict[str, Any]:
    """Return the launcher's options, in the form that the operator takes."""
    return launcher_options("stream", {"ensure_running": True, "job_name": JOB_NAME, **SETTINGS.stream_options})


@task(retries=0)
def summary() -> dict[str, Any]:
    """Return the action taken and the state of the stream, for XCom."""
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
        "runner": Param(SETTINGS.stream_runner, enum=["FlinkRunner", DATAFLOW], description="Beam's runner"),
        "options": Param({}, type="object", description=f"Options of the launcher: {', '.join(sorted(RUN_OPTIONS))}"),
    },
)
def shop_stream() -> None:
    """Stream -> summary."""
    stream = launcher("stream", options(), job_name=JOB_NAME, append_job_name=False)
    stream >> summary()


shop_stream()
