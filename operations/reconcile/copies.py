"""Rows that a table holds more than once, equal in every column but the time of writing: find them, and keep one.

One MERGE does it: a transaction may not change what a stream has written in the last minutes, and a statement may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import LOADED, STAGED
from contracts.bookkeeping import DEAD_LETTERS, LEDGER
from contracts.lineage import INGESTED_AT, POSITION, RUN_ID, SOURCE
from contracts.schemas import any_partition, quote
from contracts.table import Table

__all__ = ["Copies"]


@dataclass(frozen=True)
class Copies:
    """The copies among the rows of one table."""

    path: str
    """Of the table, quoted."""
    columns: Sequence[str]
    keys: Sequence[str]
    """Columns that are never null: copies are equal in them, too, and they make the search cheap."""
    where: Sequence[str]
    """Conditions of the rows that are compared."""
    where_stored: Sequence[str] = ()
    """Conditions that BigQuery asks for in the statement; `stored` is the table in it."""

    @classmethod
    def of_rows(cls, table: Table, path: str, columns: Sequence[str]) -> Copies:
        """Return the copies of rows of a table; `columns` are all that it has."""
        keys = (SOURCE, POSITION, RUN_ID)
        return cls(path, columns, keys, any_partition(table), any_partition(table, "stored"))

    @classmethod
    def of_letters(cls, table: str, path: str) -> Copies:
        """Return the copies of the dead letters of a table; `path` is that of `dead_letters`."""
        return cls(path, DEAD_LETTERS.names, ("dead_letter_id", "run_id"), (f"`table` = '{table}'",))

    @classmethod
    def of_lines(cls, datasets: Mapping[str, str], path: str, since: datetime) -> Copies:
        """Return the copies of the lines of batches about tables, which have the names of their `datasets`.

        `path` is that of `ledger`. A line of a stream is appended at least once, and counts once.
        """
        keys = ("run_id", "kind", "table", "source", "recorded_at")
        about = " OR ".join(
            f"(`table` = '{name}' AND IFNULL(`dataset`, '{dataset}') = '{dataset}')"
            for name, dataset in datasets.items()
        )
        where = (f"recorded_at >= TIMESTAMP '{since.isoformat()}' AND kind IN ('{STAGED}', '{LOADED}')", f"({about})")
        return cls(path, LEDGER.names, keys, where)

    def found(self, warehouse: Warehouse) -> list[dict[str, Any]]:
        """Return the keys of rows that have copies, and `copies`: how many more than one there are."""
        keys = ", ".join(map(quote, self.keys))
        return warehouse.query(
            f"SELECT {keys}, COUNT(*) - 1 AS copies FROM {self.path}{self._where()} GROUP BY {keys}, {self._same()}"
            f" HAVING COUNT(*) > 1 ORDER BY {keys}"
        )

    def drop_statement(self, lease: str = "TRUE") -> str:
        """Return the statement that keeps the first of each row and its copies; `lease` is true while it may run."""
        alike = f"PARTITION BY {', '.join(map(quote, self.keys))}, {self._same()}"
        names = ", ".join(map(quote, self.columns))
        first = (
            f"SELECT {names}, {self._same()} AS _same FROM {self.path}{self._where(lease)}"
            f" QUALIFY ROW_NUMBER() OVER ({alike} ORDER BY {self._time()}) = 1 AND COUNT(*) OVER ({alike}) > 1"
        )
        matches = " AND ".join(
            [
                "NOT kept._again",
                *(f"stored.{quote(key)} = kept.{quote(key)}" for key in self.keys),
                f"{self._same('stored.')} = kept._same",
                *self.where_stored,
            ]
        )
        values = ", ".join(f"kept.{quote(name)}" for name in self.columns)
        return (
            f"MERGE {self.path} AS stored USING (SELECT one.*, _again FROM ({first}) AS one"
            f" CROSS JOIN UNNEST([TRUE, FALSE]) AS _again) AS kept ON {matches}\n"
            f"WHEN MATCHED THEN DELETE\nWHEN NOT MATCHED AND kept._again THEN INSERT ({names}) VALUES ({values})"
        )

    def _where(self, lease: str = "TRUE") -> str:
        return f" WHERE {' AND '.join([lease, *self.where])}"

    def _same(self, row: str = "") -> str:
        compared = (f"{row}{quote(name)} AS {quote(name)}" for name in self.columns if name != INGESTED_AT)
        return f"TO_JSON_STRING(STRUCT({', '.join(compared)}))"

    def _time(self) -> str:
        return INGESTED_AT if INGESTED_AT in self.columns else quote(self.keys[0])
