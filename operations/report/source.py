"""Where the figures of a report come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import letters_query
from connectors.bookkeeping.current_lines import SINCE, current_query
from contracts.refusal import ErrorCode
from operations.report.window import Window

__all__ = ["Source"]

FIELD = r"REGEXP_REPLACE(field, r'\[[0-9]+\]', '[]')"
"""Elements of one array are one field."""


@dataclass(frozen=True, slots=True)
class Source:
    """An operations dataset, and the time that a report is about."""

    warehouse: Warehouse
    operations: str
    window: Window

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a statement with the parameter @since."""
        return self.warehouse.query(sql, since=self.window.since, **parameters)

    @property
    def lines(self) -> str:
        """The query of the newest lines of the ledger."""
        return current_query(self.warehouse.project, self.operations, SINCE)

    @property
    def letters(self) -> str:
        """The query of the dead letters as they are now; `place` is the field without indices."""
        current = letters_query(self.warehouse.project, self.operations, "@since")
        return f"SELECT *, {FIELD} AS place FROM ({current}) WHERE error_code != '{ErrorCode.DUPLICATE.value}'"
