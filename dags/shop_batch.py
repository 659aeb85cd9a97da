"""The raw files of a day into BigQuery, and checks on what came of them.

1. `raw_files` puts the files of the date into the bucket, unless they are there.
2. `batch` runs `launcher.py --pipeline=batch`. It may be tried or cleared again at any time: it goes on with the same
   run, and a run that is done is not done again.
3. `summary` has what happened: per table what was read, written, duplicate and refused, and with which codes.
4. `dead_letters` fails where more was refused than `alert_dead_letter_ratio`, also of a batch that failed.
5. `ledger`, `row_counts` and `freshness` ask the warehouse whether it is as the summary says.

The launcher's exit code and its message are in the log of `batch`: 1 failed, 2 misuse, 3 the ledger does not hold,
4 too many dead letters. All but 1 are final, and are not tried again.
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
from shop_checks import dead_letters, freshness, ledger, row_counts
from shop_launcher import launcher, launcher_options
from shop_settings import SETTINGS
from shop_summary import DATAFLOW, read_summary, run_name, split, summary_uri

TABLES = ["customers", "products", "transactions", "user_events"]
SUMMARY_SECONDS = 300
"""On Dataflow the operator follows the job, and the launcher writes the summary soon after that has ended."""


def run_date() -> str:
    """The date whose files are meant, YYYY-MM-DD: the parameter, else the run's logical date, else the day it began."""
    context = get_current_context()
    run = context["dag_run"]
    moment: datetime = run.logical_date or run.run_after
    return context["params"]["date"] or f"{moment:%Y-%m-%d}"


@task
def raw_files() -> str:
    """Put the raw files of the date into the bucket, where they are on this worker, and return their folder.

    A file that is there already with the same contents stays as it is: a run goes on only with the versions of the
    files that it has begun with.
    """
    folder = str(get_current_context()["params"]["input"]).replace("{date}", run_date())
    hook = GCSHook(gcp_conn_id=SETTINGS.connection)
    if folder.startswith("gs://"):
        bucket, prefix = split(folder)
        if not hook.list(bucket_name=bucket, prefix=f"{prefix.strip('/')}/", max_results=1):
            raise AirflowException(f"no raw files in {folder} yet")
        return folder
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    if not files:
        raise AirflowException(f"no raw files in {folder} yet")
    target = f"{SETTINGS.bucket}/raw/{run_date()}"
    bucket, prefix = split(target)
    for path in files:
        name = f"{prefix}/{path.relative_to(folder).as_posix()}"
        with path.open("rb") as stream:
            digest = base64.b64encode(hashlib.file_digest(stream, "md5").digest()).decode()
        there = hook.get_conn().bucket(bucket).get_blob(name)
        if there is None or there.md5_hash != digest:
            hook.upload(bucket_name=bucket, object_name=name, filename=str(path))
    return target


@task
def options(folder: str) -> dict[str, Any]:
    """The launcher's options for this run, as the operator takes them."""
    own = {
        "input": folder,
        "processed": f"{SETTINGS.bucket}/processed",
        "dead_letters": f"{SETTINGS.bucket}/dead_letters",
        "run_id": run_name("batch"),
        "max_dead_letter_ratio": get_current_context()["params"]["max_dead_letter_ratio"],
    }
    return launcher_options("batch", own)


@task(trigger_rule="all_done", retries=0)
def summary() -> dict[str, Any]:
    """What happened, whether the batch succeeded or failed, for the tasks that follow and for XCom.

    The counts of each file are left out, since there may be thousands of files: the ledger has them.
    """
    found = read_summary("batch", SUMMARY_SECONDS)
    for table in found["tables"].values():
        del table["sources"]
    found["output"] = {"summary": summary_uri("batch"), "tables": found["output"]["tables"]}
    return found


@dag(
    schedule=SETTINGS.batch_schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["shop", "batch", "beam"],
    default_args={"owner": "shop", "retries": 2, "retry_delay": SETTINGS.retry_delay},
    params={
        "runner": Param(SETTINGS.runner, enum=["DirectRunner", DATAFLOW, "FlinkRunner"], description="Where Beam runs"),
        "input": Param(
            SETTINGS.input, type="string", minLength=1,
            description="Folder of raw files: gs://…, or one on the workers, to be uploaded first; {date} is the date",
        ),
        "date": Param(
            None, type=["null", "string"], format="date", description="Date of the files; empty: the run's own"
        ),
        "max_dead_letter_ratio": Param(
            0.2, type="number", minimum=0, maximum=1, description="Above this share the batch loads nothing"
        ),
        "alert_dead_letter_ratio": Param(
            0.1, type="number", minimum=0, maximum=1, description="Above this share of a table dead_letters fails"
        ),
        "tables": Param(TABLES, type="array", items={"type": "string"}, description="Tables that must be fresh"),
        "max_age_hours": Param(
            26, type="number", exclusiveMinimum=0, description="How long ago their last load may be"
        ),
        "options": Param({}, type="object", description="Further options of the launcher, in snake_case"),
    },
)  # fmt: skip
def shop_batch() -> None:
    """raw files -> batch -> summary -> checks; what a failed batch has refused is looked at too."""
    batch = launcher("batch", options(raw_files()), job_name="shop-batch")
    found = summary()
    batch >> found
    dead_letters(found)
    batch >> [ledger(found), row_counts(found)]
    found >> freshness()


shop_batch()
