"""Checks on what a batch has done: what its summary says, and what the warehouse has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from google.cloud import bigquery
from shop_settings import SETTINGS

__all__ = ["dead_letters", "freshness", "ledger", "row_counts"]


def ask(sql: str, **parameters: str) -> list[dict[str, Any]]:
    """The rows of a question to the warehouse, its parameters by name."""
    hook = BigQueryHook(gcp_conn_id=SETTINGS.connection, location=SETTINGS.location)
    client = hook.get_client(project_id=SETTINGS.project, location=SETTINGS.location)
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter(name, "STRING", text) for name, text in parameters.items()]
    )
    return [dict(row.items()) for row in client.query(sql, job_config=config).result()]


def ledger_view() -> str:
    """The path of the view that shows of each line of the ledger the newest."""
    return f"`{SETTINGS.project}.{SETTINGS.operations_dataset}.ledger_current`"


@task
def dead_letters(found: dict[str, Any]) -> dict[str, float]:
    """Fail where a table's share of refused records is above `alert_dead_letter_ratio`, and say which codes they have.

    It looks at what the batch has loaded, and as well at a batch that has loaded nothing because of them.
    """
    limit = get_current_context()["params"]["alert_dead_letter_ratio"]
    tables = found["tables"]
    shares = {name: table["dead_letter"] / table["read"] for name, table in tables.items() if table["read"]}
    for name, share in shares.items():
        print(f"{name}: {share:.2%} of {tables[name]['read']:,} records refused")
    above = [name for name, share in shares.items() if share > limit]
    if above:
        told = "; ".join(f"{name} {shares[name]:.2%} {tables[name]['dead_letter_by_code']}" for name in above)
        raise AirflowFailException(f"more dead letters than {limit:.2%}: {told}")
    return shares


@task
def ledger(found: dict[str, Any]) -> int:
    """Fail unless the ledger shows the run as done, with every file that it began with, and each record by one door."""
    (run,) = ask(
        f"""SELECT
          COUNTIF(kind = 'run' AND state = 'done') AS done,
          COUNTIF(kind = 'input') AS files,
          COUNTIF(kind = 'loaded') AS loaded,
          COUNTIF(kind = 'loaded' AND `read` != written + duplicate + dead_letter) AS broken,
          COALESCE(SUM(IF(kind = 'loaded', `read`, 0)), 0) AS records
        FROM {ledger_view()} WHERE run_id = @run""",
        run=found["run_id"],
    )
    print(f"the ledger of {found['run_id']}: {run}")
    if not run["done"] or run["broken"] or run["files"] != run["loaded"]:
        raise AirflowFailException(f"the ledger of {found['run_id']} does not hold: {run}")
    return int(run["records"])


@task
def row_counts(found: dict[str, Any]) -> dict[str, int]:
    """Fail unless each table holds the rows that the run says it has written, and is not empty.

    Rows that a later run has replaced are that run's: where there is one, the table may hold fewer.
    """
    wrong, totals = [], {}
    for path in found["output"]["tables"]:
        name = path.rpartition(".")[2]
        written = found["tables"][name]["written"]
        (table,) = ask(
            f"SELECT COUNTIF(_run_id = @run) AS held, COUNT(*) AS total FROM `{SETTINGS.project}.{path}`",
            run=found["run_id"],
        )
        (later,) = ask(
            f"""SELECT COUNTIF(run_id != @run AND recorded_at > (
              SELECT MAX(recorded_at) FROM {ledger_view()} WHERE kind = 'loaded' AND `table` = @name AND run_id = @run
            )) AS runs FROM {ledger_view()} WHERE kind = 'loaded' AND `table` = @name""",
            run=found["run_id"],
            name=name,
        )
        print(f"{path}: {table['total']:,} rows, {table['held']:,} of this run, which has written {written:,}")
        if not table["total"] or table["held"] > written or (table["held"] < written and not later["runs"]):
            wrong.append(f"{path} holds {table['held']:,} of the {written:,} rows that the run has written")
        totals[path] = int(table["total"])
    if wrong:
        raise AirflowFailException("; ".join(wrong))
    return totals


@task
def freshness() -> dict[str, str]:
    """Fail where one of the tables of the parameter `tables` has had no load within `max_age_hours`."""
    params = get_current_context()["params"]
    now = datetime.now(UTC)
    loads = ask(f"SELECT `table` AS name, MAX(recorded_at) AS at FROM {ledger_view()} WHERE kind = 'loaded' GROUP BY 1")
    ages = {load["name"]: now - load["at"] for load in loads}
    oldest = timedelta(hours=params["max_age_hours"])
    stale = [
        f"{name} {'was never loaded' if name not in ages else f'was last loaded {ages[name]} ago'}"
        for name in params["tables"]
        if ages.get(name, timedelta.max) > oldest
    ]
    if stale:
        raise AirflowFailException(f"not loaded within {oldest}: {'; '.join(stale)}")
    return {name: str(ages[name]) for name in params["tables"]}
