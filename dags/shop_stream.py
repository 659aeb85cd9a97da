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

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator
from airflow.sdk import Param, dag, get_current_context, task
from shop_launcher import FinalExitCodes
from shop_settings import SETTINGS
from shop_summary import read_summary, summary_uri

JOB_NAME = "shop-stream"
DATAFLOW = "DataflowRunner"
SUMMARY_SECONDS = 600
"""The operator leaves the launcher once Dataflow has the job; it writes the summary when the job runs."""


@task
def options() -> dict[str, Any]:
    """The launcher's options, as the operator takes them."""
    params = get_current_context()["params"]
    return {
        "pipeline": "stream",
        "ensure_running": True,
        "job_name": JOB_NAME,
        "project": SETTINGS.project,
        "location": SETTINGS.location,
        "operations_dataset": SETTINGS.operations_dataset,
        "summary": summary_uri("stream"),
        **({"temp_location": f"{SETTINGS.bucket}/tmp"} if params["runner"] == DATAFLOW else {}),
        **SETTINGS.stream_options,
        **params["options"],
    }


@task(retries=0)
def summary() -> dict[str, Any]:
    """What was done, and how the stream is, for XCom."""
    waits = SUMMARY_SECONDS if get_current_context()["params"]["runner"] == DATAFLOW else 0
    return read_summary(summary_uri("stream"), waits)


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
    stream = BeamRunPythonPipelineOperator(
        task_id="stream",
        py_file=SETTINGS.launcher,
        py_interpreter=SETTINGS.python,
        py_requirements=list(SETTINGS.requirements) or None,
        runner="{{ params.runner }}",
        pipeline_options=options(),
        gcp_conn_id=SETTINGS.connection,
        dataflow_config={
            "job_name": JOB_NAME, "append_job_name": False, "project_id": SETTINGS.project,
            "location": SETTINGS.region, "gcp_conn_id": SETTINGS.connection,
        },
        retry_policy=FinalExitCodes(),
    )  # fmt: skip
    stream >> summary()


shop_stream()
