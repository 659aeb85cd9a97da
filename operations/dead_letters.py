"""Dead letters for a person: which there are, one of them whole, and those that nobody will correct."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import GIVEN_UP, OPEN, letters_query
from contracts.bookkeeping import DEAD_LETTERS, REPLAYED
from contracts.errors import UsageError
from contracts.schemas import any_partition, quote
from contracts.table import Table
from pipelines.replay.selection import of_run

__all__ = ["SOLVED", "Letters"]

SOLVED = "solved"
"""State of an open dead letter whose record is a row by now, because its file was loaded again."""
COLUMNS = "dead_letter_id, `table`, error_code, field, error_message, source, position, retry_count, failed_at, run_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The dead letters that were refused since a time and meet conditions, each with its state of now."""

    warehouse: Warehouse
    operations: str
    tables: Mapping[str, Table]
    """The tables of the contracts. Those that have open letters are asked which of the records are rows by now."""
    since: datetime
    """BigQuery reads no day before. Of the tables it reads `_source` and `_position`."""
    where: str = ""
    """A condition in SQL."""
    run: str | None = None
    """Those that a run has refused; `last`: the newest run that has one."""
    table: str | None = None
    code: str | None = None

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest `limit` of them."""
        return self._rows(
            f"SELECT {COLUMNS}, state FROM ({self._current()}) WHERE {self._condition}"
            f" ORDER BY failed_at DESC, `table`, source, position LIMIT {limit}"
        )

    def by_code(self) -> list[dict[str, Any]]:
        """Return their numbers by table, code, field and state, the most first."""
        return self._rows(
            "SELECT `table`, error_code, field, state, COUNT(*) AS letters, MAX(failed_at) AS newest"
            f" FROM ({self._current()}) WHERE {self._condition}"
            " GROUP BY 1, 2, 3, 4 ORDER BY letters DESC, 1, 2, 3, 4"
        )

    def one(self, prefix: str) -> dict[str, Any]:
        """Return the whole row of the one whose id begins with `prefix`. Raises UsageError if there is not one."""
        rows = self._rows(
            f"SELECT * FROM ({self._current()}) WHERE STARTS_WITH(dead_letter_id, @prefix) AND {self._condition}"
            " ORDER BY dead_letter_id LIMIT 2",
            prefix=prefix,
        )
        if len(rows) != 1:
            what = "several dead letters" if rows else "no dead letter"
            raise UsageError(
                f"{what} since {self.since:%Y-%m-%d} with an id that begins with {prefix[:40]};"
                " launcher.py dead-letters list shows ids, --days N looks further back"
            )
        return rows[0]

    def give_up(self) -> int:
        """Mark those that are open as given up, and return how many. `replay` leaves them out from then on."""
        run_id = f"give-up-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        values = {"dead_letter_id": "dead_letter_id", "run_id": f"'{run_id}'", "state": f"'{GIVEN_UP}'"}
        values["replayed_at"] = "CURRENT_TIMESTAMP()"
        sql = (
            f"INSERT INTO {self._path(REPLAYED.name)} ({', '.join(map(quote, values))})"
            f" SELECT {', '.join(values.values())} FROM ({self._current()})"
            f" WHERE state = '{OPEN}' AND {self._condition}"
        )
        return self.warehouse.update(sql, **self._parameters(sql))

    @property
    def _condition(self) -> str:
        since = f"(SELECT * FROM {self._path(DEAD_LETTERS.name)} WHERE failed_at >= @since)"
        conditions = [of_run(since, self.run)] if self.run else []
        conditions += ["`table` = @table"] if self.table else []
        conditions += ["error_code = @code"] if self.code else []
        conditions += [f"({self.where})"] if self.where else []
        return " AND ".join(conditions) or "TRUE"

    def _current(self) -> str:
        """Return the query of all letters since then, whose state is SOLVED if their place is a row."""
        letters = letters_query(self.warehouse.project, self.operations, "@since")
        of_table = " AND `table` = @table" if self.table else ""
        named = self._rows(f"SELECT DISTINCT `table` AS name FROM ({letters}) WHERE state = '{OPEN}'{of_table}")
        places = [
            place for row in named if row["name"] in self.tables and (place := self._places(self.tables[row["name"]]))
        ]
        if not places:
            return letters
        return (
            f"SELECT letter.* REPLACE (IF(letter.state = '{OPEN}' AND place._source IS NOT NULL, '{SOLVED}',"
            f" letter.state) AS state) FROM ({letters}) AS letter LEFT JOIN ({' UNION ALL '.join(places)}) AS place"
            " ON place.of_table = letter.`table` AND place._source = letter.source"
            " AND place._position = letter.position"
        )

    def _places(self, table: Table) -> str:
        """Return the query of the places that are rows of a table, "" if it does not exist."""
        if self.warehouse.existing(table.dataset, table.name) is None:
            return ""
        path = f"`{self.warehouse.project}.{table.dataset}.{table.name}`"
        condition = " AND ".join(any_partition(table)) or "TRUE"
        return f"SELECT DISTINCT '{table.name}' AS of_table, _source, _position FROM {path} WHERE {condition}"

    def _rows(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql, **self._parameters(sql), **parameters)

    def _parameters(self, sql: str) -> dict[str, str | datetime | None]:
        """Return those that a statement has."""
        given = {"since": self.since, "table": self.table, "code": self.code}
        return {name: value for name, value in given.items() if f"@{name}" in sql}

    def _path(self, name: str) -> str:
        return f"`{self.warehouse.project}.{self.operations}.{name}`"
