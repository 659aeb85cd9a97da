"""The query of `dead_letters_current`: each dead letter as it is now, after all runs that sent it again."""

from __future__ import annotations

from connectors.bigquery.warehouse import Warehouse
from contracts.bookkeeping import DEAD_LETTERS, REPLAYED
from contracts.errors import UsageError

__all__ = [
    "CURRENT_LETTERS",
    "DUPLICATE",
    "OPEN",
    "REFUSED",
    "WRITTEN",
    "check_letters",
    "letter_columns",
    "letters_query",
]

CURRENT_LETTERS = "dead_letters_current"
OPEN, WRITTEN, DUPLICATE, REFUSED = "open", "written", "duplicate", "refused"
"""States of a dead letter; one that was refused again is open."""
CHANGING = ("error_code", "error_message", "field", "contract_version")
"""Columns of which the newest refusal counts."""


def letters_query(project: str, dataset: str) -> str:
    """Return the query: the columns of `dead_letters`, `state`, and the run that sent the letter again last.

    Of the runs that sent a letter, one that wrote it counts before one that refused it, and then the newest.
    """
    names = [field.name for field in DEAD_LETTERS.fields if field.name not in (*CHANGING, "retry_count")]
    columns = [f"letter.`{name}`" for name in names]
    columns += [f"IF(last.error_code IS NULL, letter.`{name}`, last.`{name}`) AS `{name}`" for name in CHANGING]
    columns += [
        "letter.retry_count + IFNULL(last.times, 0) AS retry_count",
        f"IF(last.state IS NULL OR last.state = '{REFUSED}', '{OPEN}', last.state) AS state",
        "last.run_id AS replayed_by",
        "last.replayed_at AS replayed_at",
    ]
    return (
        f"SELECT {', '.join(columns)} FROM `{project}.{dataset}.{DEAD_LETTERS.name}` AS letter LEFT JOIN ("
        "SELECT *, COUNT(*) OVER (PARTITION BY dead_letter_id) AS times, ROW_NUMBER() OVER (PARTITION BY dead_letter_id"
        f" ORDER BY IF(state = '{REFUSED}', 1, 0), replayed_at DESC, run_id) AS newest"
        f" FROM `{project}.{dataset}.{REPLAYED.name}`"
        ") AS last ON last.dead_letter_id = letter.dead_letter_id AND last.newest = 1"
    )


def letter_columns() -> list[str]:
    """Return the names of the columns of the view."""
    return [*(field.name for field in DEAD_LETTERS.fields), "state", "replayed_by", "replayed_at"]


def check_letters(warehouse: Warehouse, dataset: str) -> None:
    """Raise UsageError if an operations dataset has no view of dead letters yet."""
    if warehouse.existing(dataset, CURRENT_LETTERS) is None:
        raise UsageError(
            f"{dataset} has no {CURRENT_LETTERS}: a batch, a stream or launcher.py setup creates it; or give"
            " --operations_dataset"
        )
