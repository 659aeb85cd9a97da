"""The query of `dead_letters_current`: each dead letter as it is now, after all runs that sent it again."""

from __future__ import annotations

from connectors.bigquery.warehouse import Warehouse
from contracts.bookkeeping import DEAD_LETTERS, REPLAYED
from contracts.errors import UsageError

__all__ = [
    "CURRENT_LETTERS",
    "DUPLICATE",
    "GIVEN_UP",
    "OPEN",
    "REFUSED",
    "SENT",
    "WRITTEN",
    "check_letters",
    "letter_columns",
    "letters_query",
]

CURRENT_LETTERS = "dead_letters_current"
OPEN, WRITTEN, DUPLICATE, REFUSED, GIVEN_UP, SENT = "open", "written", "duplicate", "refused", "given_up", "sent"
"""States of a dead letter; one that was refused again is open."""
CLOCKS = "INTERVAL 1 DAY"
"""How much earlier than a letter was refused, by the clock of its run, it may have been sent again by BigQuery's."""
CHANGING = ("error_code", "error_message", "field", "contract_version")
"""Columns of which the newest refusal counts."""


def letters_query(project: str, dataset: str, since: str = "") -> str:
    """Return the query: the columns of `dead_letters`, `state`, and the run that sent the letter again last.

    Of the runs that sent a letter, one that found or made its row counts before one that gave it up, then one that
    refused it, and then the newest. `since` is a timestamp in SQL: letters that were refused before are left out, and
    BigQuery does not read their days.
    """
    names = [name for name in DEAD_LETTERS.names if name not in (*CHANGING, "retry_count")]
    columns = [f"letter.`{name}`" for name in names]
    columns += [f"IF(last.error_code IS NULL, letter.`{name}`, last.`{name}`) AS `{name}`" for name in CHANGING]
    columns += [
        "letter.retry_count + IFNULL(last.times, 0) AS retry_count",
        f"IF(last.state IS NULL OR last.state = '{REFUSED}', '{OPEN}', last.state) AS state",
        "last.run_id AS replayed_by",
        "last.replayed_at AS replayed_at",
    ]
    sent = f" WHERE replayed_at >= TIMESTAMP_SUB({since}, {CLOCKS})" if since else ""
    refused = f" WHERE letter.failed_at >= {since}" if since else ""
    return (
        f"SELECT {', '.join(columns)} FROM `{project}.{dataset}.{DEAD_LETTERS.name}` AS letter LEFT JOIN ("
        f"SELECT *, COUNT(DISTINCT IF(state = '{GIVEN_UP}', NULL, run_id)) OVER (PARTITION BY dead_letter_id) AS times,"
        " ROW_NUMBER() OVER (PARTITION BY dead_letter_id"
        f" ORDER BY CASE state WHEN '{REFUSED}' THEN 2 WHEN '{GIVEN_UP}' THEN 1 ELSE 0 END, replayed_at DESC, run_id)"
        f" AS newest FROM `{project}.{dataset}.{REPLAYED.name}`{sent}"
        f") AS last ON last.dead_letter_id = letter.dead_letter_id AND last.newest = 1{refused}"
    )


def letter_columns() -> list[str]:
    """Return the names of the columns of the view."""
    return [*DEAD_LETTERS.names, "state", "replayed_by", "replayed_at"]


def check_letters(warehouse: Warehouse, dataset: str) -> None:
    """Raise UsageError if an operations dataset has no view of dead letters yet."""
    if warehouse.existing(dataset, CURRENT_LETTERS) is None:
        raise UsageError(
            f"{dataset} has no {CURRENT_LETTERS}: a batch, a stream or launcher.py setup creates it; or give"
            " --operations_dataset"
        )
