"""The query of `dead_letters_current`: each dead letter as it is now, after all runs that sent it again."""

from __future__ import annotations

from contracts.bookkeeping import DEAD_LETTERS, REPLAYED

__all__ = ["CURRENT_LETTERS", "DUPLICATE", "OPEN", "REFUSED", "WRITTEN", "letter_columns", "letters_query"]

CURRENT_LETTERS = "dead_letters_current"
OPEN, WRITTEN, DUPLICATE, REFUSED = "open", "written", "duplicate", "refused"
"""States of a dead letter; one that was refused again is open."""
CHANGING = ("error_code", "error_message", "field", "contract_version")
"""Columns of which the newest refusal counts."""


def letters_query(project: str, dataset: str) -> str:
    """Return the query: the columns of `dead_letters`, `state`, and the run that sent the letter again last."""
    names = [field.name for field in DEAD_LETTERS.fields if field.name not in (*CHANGING, "retry_count")]
    columns = [f"letter.`{name}`" for name in names]
    columns += [f"IFNULL(last.`{name}`, letter.`{name}`) AS `{name}`" for name in CHANGING]
    columns += [
        "letter.retry_count + IFNULL(last.times, 0) AS retry_count",
        f"IF(last.state IS NULL OR last.state = '{REFUSED}', '{OPEN}', last.state) AS state",
        "last.run_id AS replayed_by",
        "last.replayed_at AS replayed_at",
    ]
    newest = [f"MAX_BY(`{name}`, replayed_at) AS `{name}`" for name in ("state", "run_id", *CHANGING)]
    return (
        f"SELECT {', '.join(columns)} FROM `{project}.{dataset}.{DEAD_LETTERS.name}` AS letter LEFT JOIN ("
        f"SELECT dead_letter_id, {', '.join(newest)}, MAX(replayed_at) AS replayed_at, COUNT(*) AS times"
        f" FROM `{project}.{dataset}.{REPLAYED.name}` GROUP BY dead_letter_id"
        ") AS last ON last.dead_letter_id = letter.dead_letter_id"
    )


def letter_columns() -> list[str]:
    """Return the names of the columns of the view."""
    return [*(field.name for field in DEAD_LETTERS.fields), "state", "replayed_by", "replayed_at"]
