"""Loads a day's raw files into BigQuery and checks the result.

1. `raw_files` uploads the files of the date to the bucket, unless they are there already.
2. `batch` runs `launcher.py --pipeline=batch`. It is safe to retry or clear at any time: it continues the same run, and
   a finished run is not repeated.
3. `summary` returns the result: for each table how many records were read, written, duplicate and refused, by code.
4. `dead_letters` fails if a table's share of dead letters is above `alert_dead_letter_ratio`. It also checks a failed
   batch.
5. `ledger`, `row_counts` and `freshness` check that the warehouse agrees with the summary, and `service_levels` that
   the tables keep the latency and freshness of their contracts.

The log of `batch` has the launcher's exit code and message: 1 failed, 2 wrong usage or a conflict with another run,
3 the ledger does not balance, 4 too many dead letters, 5 a service does not answer, 6 a quality rule is broken. Codes
2, 3, 4 and 6 are final; 1 and 5 are retried.

A run may read folders below SHOP_INPUT_ROOTS only. It may set only options that name no place and no program; see
shop_allowed.py.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowException
from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from shop_allowed import RUN_OPTIONS, NotAllowed, allowed_folder, files_below
from shop_checks import dead_letters, freshness, ledger, row_counts, service_levels
from shop_launcher import launcher, launcher_options
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, read_summary, run_name, split, summary_uri

TABLES = ["customers", "products", "transactions", "user_events"]
SUMMARY_SECONDS = 300
"""On Dataflow the operator follows the job; the launcher writes the summary soon after the job ends."""


def run_date() -> str:
    """Return the date of the files, YYYY-MM-DD: the parameter, else the logical date, else the day the run began."""
    context = get_current_context()
    run = context["dag_run"]
    moment = run.logical_date or run.run_after
    return context["params"]["date"] or f"{moment:%Y-%m-%d}"


@task
def raw_files() -> str:
    """Upload the raw files of the date if they are on this worker; return their folder in the bucket.

    A file with the same contents is not uploaded again: a run continues only with the file versions that it began with.

    Raises:
        AirflowException: The folder has no files yet. The task is retried.
        AirflowFailException: The folder, or the target of a link in it, is not below one of the roots.
    """
    folder = str(get_current_context()["params"]["input"]).replace("{date}", run_date())
    try:
        root = allowed_folder(folder, SETTINGS.input_roots)
        files = [] if folder.startswith("gs://") or not Path(folder).is_dir() else files_below(folder, root)
    except NotAllowed as error:
        raise AirflowFailException(str(error)) from None
    hook = GCSHook(gcp_conn_id=SETTINGS.connection)
    if folder.startswith("gs://"):
        bucket, prefix = split(folder)
        if not hook.list(bucket_name=bucket, prefix=f"{prefix.strip('/')}/", max_results=1):
            raise AirflowException(f"no raw files in {folder} yet")
        return folder
    if not files:
        raise AirflowException(f"no raw files in {folder} yet")
    target = f"{SETTINGS.bucket}/raw/{run_date()}"
    bucket, prefix = split(target)
    for path in files:
        name = f"{prefix}/{path.relative_to(folder).as_posix()}"
        with path.open("rb") as stream:
            digest = base64.b64encode(hashlib.file_digest(stream, "md5").digest()).decode()
        uploaded = hook.get_conn().bucket(bucket).get_blob(name)
        if uploaded is None or uploaded.md5_hash != digest:
            hook.upload(bucket_name=bucket, object_name=name, filename=str(path))
    return target


@task
def options(folder: str) -> dict[str, Any]:
    """Return the launcher's options for this run, in the form that the operator takes."""
    own = {
        "input": folder,
        "processed": f"{SETTINGS.bucket}/processed",
        "dead_letters": f"{SETTINGS.bucket}/dead_letters",
        "run_id": run_name("batch"),
        "max_dead_letter_ratio": get_current_context()["params"]["max_dead_letter_ratio"],
        **SETTINGS.batch_options,
    }
    return launcher_options("batch", own)


@task(trigger_rule="all_done", retries=0)
def summary() -> dict[str, Any]:
    """Return the run's summary, also of a failed batch, for the checks and for XCom.

    The counts of each file are left out, because there can be thousands of files. The ledger has them.
    """
    run = read_summary("batch", SUMMARY_SECONDS)
    for table in run["tables"].values():
        del table["sources"]
    run["output"] = {"summary": summary_uri("batch"), "tables": run["output"]["tables"]}
    return run


@dag(
    schedule=SETTINGS.batch_schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["shop", "batch", "beam"],
    default_args={"owner": "shop", "retries": 2, "retry_delay": SETTINGS.retry_delay},
    params={
        "runner": Param(SETTINGS.runner, enum=["DirectRunner", DATAFLOW, "FlinkRunner"], description="Beam's runner"),
        "input": Param(
            SETTINGS.input,
            type="string",
            minLength=1,
            description="Folder of raw files, below SHOP_INPUT_ROOTS: gs://…, or a folder on the workers, which is"
            " uploaded first; {date} stands for the date",
        ),
        "date": Param(
            None, type=["null", "string"], format="date", description="Date of the files; empty: the run's own date"
        ),
        "max_dead_letter_ratio": Param(
            0.2, type="number", minimum=0, maximum=1, description="Above this share the batch loads nothing"
        ),
        "alert_dead_letter_ratio": Param(
            0.1, type="number", minimum=0, maximum=1, description="Above this share of a table dead_letters fails"
        ),
        "tables": Param(TABLES, type="array", items={"type": "string"}, description="Tables that must be fresh"),
        "max_age_hours": Param(26, type="number", exclusiveMinimum=0, description="Maximum age of their last load"),
        "options": Param({}, type="object", description=f"Options of the launcher: {', '.join(sorted(RUN_OPTIONS))}"),
    },
)
def shop_batch() -> None:
    """Raw files -> batch -> summary -> checks. The dead letters of a failed batch are checked too."""
    batch = launcher("batch", options(raw_files()), job_name="shop-batch")
    run = summary()
    batch >> run
    dead_letters(run)
    batch >> [ledger(run), row_counts(run), service_levels(run)]
    run >> freshness()


shop_batch()
