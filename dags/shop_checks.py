"""Checks of a batch: its summary, and whether the warehouse agrees with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from google.cloud import bigquery

from shop_settings import SETTINGS

__all__ = ["dead_letters", "freshness", "ledger", "row_counts", "service_levels"]


def query(sql: str, **parameters: str) -> list[dict[str, Any]]:
    """Return the rows of a query; `parameters` are its STRING parameters by name."""
    hook = BigQueryHook(gcp_conn_id=SETTINGS.connection, location=SETTINGS.location)
    client = hook.get_client(project_id=SETTINGS.project, location=SETTINGS.location)
    config = bigquery.QueryJobConfig(
        query_parameters=[bigquery.ScalarQueryParameter(name, "STRING", text) for name, text in parameters.items()]
    )
    return [dict(row.items()) for row in client.query(sql, job_config=config).result()]


def ledger_view() -> str:
    """Return the quoted path of the view that has the newest version of each ledger line."""
    return f"`{SETTINGS.project}.{SETTINGS.operations_dataset}.ledger_current`"


@task
def dead_letters(run: dict[str, Any]) -> dict[str, float]:
    """Return each table's share of dead letters; fail if one is above `alert_dead_letter_ratio`.

    It also checks a batch that loaded nothing because of its dead letters.
    """
    limit = get_current_context()["params"]["alert_dead_letter_ratio"]
    tables = run["tables"]
    shares = {name: table["dead_letter"] / table["read"] for name, table in tables.items() if table["read"]}
    for name, share in shares.items():
        print(f"{name}: {share:.2%} of {tables[name]['read']:,} records refused")
    above = [
        f"{name} {share:.2%} {tables[name]['dead_letter_by_code']}" for name, share in shares.items() if share > limit
    ]
    if above:
        raise AirflowFailException(f"more dead letters than {limit:.2%}: {'; '.join(above)}")
    return shares


@task
def ledger(run: dict[str, Any]) -> int:
    """Return how many records the ledger counts; fail unless it balances.

    It balances if the run is done, every input file is loaded, and read = written + duplicate + dead letter for each.
    """
    (counts,) = query(
        f"""SELECT
          COUNTIF(kind = 'run' AND state = 'done') AS done,
          COUNTIF(kind = 'input') AS files,
          COUNTIF(kind = 'loaded') AS loaded,
          COUNTIF(kind = 'loaded' AND `read` != written + duplicate + dead_letter) AS broken,
          COALESCE(SUM(IF(kind = 'loaded', `read`, 0)), 0) AS records
        FROM {ledger_view()} WHERE run_id = @run""",
        run=run["run_id"],
    )
    print(f"the ledger of {run['run_id']}: {counts}")
    if not counts["done"] or counts["broken"] or counts["files"] != counts["loaded"]:
        raise AirflowFailException(f"the ledger of {run['run_id']} does not balance: {counts}")
    return int(counts["records"])


@task
def row_counts(run: dict[str, Any]) -> dict[str, int]:
    """Return the row count of each table; fail if a table is empty or its rows disagree with the summary.

    A later run may have replaced rows of this one. Only then may a table hold fewer rows than this run wrote.
    """
    wrong, totals = [], {}
    for path in run["output"]["tables"]:
        name = path.rpartition(".")[2]
        written = run["tables"][name]["written"]
        (table,) = query(
            f"SELECT COUNTIF(_run_id = @run) AS held, COUNT(*) AS total FROM `{SETTINGS.project}.{path}`",
            run=run["run_id"],
        )
        (later,) = query(
            f"""SELECT COUNTIF(run_id != @run AND recorded_at > (
              SELECT MAX(recorded_at) FROM {ledger_view()} WHERE kind = 'loaded' AND `table` = @name AND run_id = @run
            )) AS runs FROM {ledger_view()} WHERE kind = 'loaded' AND `table` = @name""",
            run=run["run_id"],
            name=name,
        )
        print(f"{path}: {table['total']:,} rows, {table['held']:,} of this run, which wrote {written:,}")
        if not table["total"] or table["held"] > written or (table["held"] < written and not later["runs"]):
            wrong.append(f"{path} holds {table['held']:,} of the {written:,} rows that the run wrote")
        totals[path] = int(table["total"])
    if wrong:
        raise AirflowFailException("; ".join(wrong))
    return totals


@task
def freshness() -> dict[str, str]:
    """Return the age of the last load of each table of the parameter `tables`; fail if one exceeds `max_age_hours`."""
    params = get_current_context()["params"]
    now = datetime.now(UTC)
    loads = query(
        f"SELECT `table` AS name, MAX(recorded_at) AS at FROM {ledger_view()} WHERE kind = 'loaded' GROUP BY 1"
    )
    ages = {load["name"]: now - load["at"] for load in loads}
    limit = timedelta(hours=params["max_age_hours"])
    stale = [
        f"{name} {'was never loaded' if name not in ages else f'was last loaded {ages[name]} ago'}"
        for name in params["tables"]
        if ages.get(name, timedelta.max) > limit
    ]
    if stale:
        raise AirflowFailException(f"not loaded within {limit}: {'; '.join(stale)}")
    return {name: str(ages[name]) for name in params["tables"]}


@task
def service_levels(run: dict[str, Any]) -> dict[str, float]:
    """Return in seconds what each service level of the contracts is; fail if one is not kept or cannot be measured.

    The summary has the levels of the tables of the run, and the statement that measures each.
    """
    measured, wrong = {}, []
    for table, counts in run["tables"].items():
        for level in counts.get("service_levels", ()):
            name = f"{table}: {level['name']}"
            rows = query(level["sql"]) if "sql" in level else []
            seconds = rows[0]["seconds"] if rows else None
            print(f"{name} is {seconds} s, at most {level['seconds']} s")
            if seconds is None:
                wrong.append(f"{name} cannot be measured: {level.get('problem', 'the table has no such row')}")
            elif seconds > level["seconds"]:
                wrong.append(f"{name} is {seconds} s, at most {level['seconds']} s")
            else:
                measured[name] = seconds
    if wrong:
        raise AirflowFailException("; ".join(wrong))
    return measured
