"""Dead letters for a person: which there are, and one of them whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS, OPEN
from contracts.errors import UsageError
from contracts.schemas import any_partition
from contracts.table import Table

__all__ = ["SOLVED", "Wanted", "dead_letter", "dead_letters", "dead_letters_by_code"]

SOLVED = "solved"
"""State of an open dead letter whose record is a row by now, because its file was loaded again."""
COLUMNS = "dead_letter_id, `table`, error_code, field, error_message, source, position, retry_count, failed_at, run_id"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: of a run (`last`: the newest run that has one), a table, a code, a condition."""

    where: str = ""
    """A condition in SQL."""
    run: str | None = None
    table: str | None = None
    code: str | None = None

    def condition(self, path: str) -> str:
        """Return the condition in SQL; `run`, `table` and `code` are parameters."""
        run = "@run"
        if self.run == "last":
            run = f"(SELECT run_id FROM {path} ORDER BY failed_at DESC, run_id LIMIT 1)"
        conditions = [f"run_id = {run}"] if self.run else []
        conditions += ["`table` = @table"] if self.table else []
        conditions += ["error_code = @code"] if self.code else []
        conditions += [f"({self.where})"] if self.where else []
        return " AND ".join(conditions) or "TRUE"

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the condition."""
        given = {"run": None if self.run == "last" else self.run, "table": self.table, "code": self.code}
        return {name: value for name, value in given.items() if value}


def dead_letters(
    warehouse: Warehouse, operations: str, wanted: Wanted, tables: Mapping[str, Table], limit: int
) -> list[dict[str, Any]]:
    """Return the newest dead letters, each with its state. `tables` are those of the contracts."""
    path = _path(warehouse, operations)
    rows = warehouse.query(
        f"SELECT {COLUMNS}, state FROM {path} WHERE {wanted.condition(path)}"
        f" ORDER BY failed_at DESC, `table`, source, position LIMIT {limit}",
        **wanted.parameters,
    )
    return _with_solved(warehouse, rows, tables)


def dead_letters_by_code(warehouse: Warehouse, operations: str, wanted: Wanted) -> list[dict[str, Any]]:
    """Return the numbers of dead letters by table, code, field and state, the most first."""
    path = _path(warehouse, operations)
    return warehouse.query(
        f"SELECT `table`, error_code, field, state, COUNT(*) AS letters, MAX(failed_at) AS newest FROM {path}"
        f" WHERE {wanted.condition(path)} GROUP BY 1, 2, 3, 4 ORDER BY letters DESC, 1, 2, 3, 4",
        **wanted.parameters,
    )


def dead_letter(warehouse: Warehouse, operations: str, prefix: str, tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return all of the dead letter whose id begins with `prefix`. Raises UsageError if there is none, or several."""
    rows = warehouse.query(
        f"SELECT * FROM {_path(warehouse, operations)} WHERE STARTS_WITH(dead_letter_id, @prefix)"
        " ORDER BY dead_letter_id LIMIT 2",
        prefix=prefix,
    )
    if len(rows) != 1:
        what = "several dead letters" if rows else "no dead letter"
        raise UsageError(f"{what} with an id that begins with {prefix[:40]}; launcher.py dead-letters list shows ids")
    (row,) = _with_solved(warehouse, rows, tables)
    row["raw"] = row["raw"].decode(errors="backslashreplace")
    return row


def _with_solved(warehouse: Warehouse, rows: list[dict[str, Any]], tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """Replace the state of open dead letters whose record is a row of their table now."""
    for name, table in tables.items():
        of_table = [row for row in rows if row["table"] == name and row["state"] == OPEN]
        if not of_table or warehouse.existing(table.dataset, name) is None:
            continue
        positions = ", ".join(sorted({str(row["position"]) for row in of_table}))
        conditions = ["_source IN UNNEST(@sources)", f"_position IN ({positions})", *any_partition(table)]
        places = warehouse.query(
            f"SELECT DISTINCT _source, _position FROM `{warehouse.project}.{table.dataset}.{name}`"
            f" WHERE {' AND '.join(conditions)}",
            sources=sorted({row["source"] for row in of_table}),
        )
        stored = {(place["_source"], place["_position"]) for place in places}
        for row in of_table:
            if (row["source"], row["position"]) in stored:
                row["state"] = SOLVED
    return rows


def _path(warehouse: Warehouse, operations: str) -> str:
    return f"`{warehouse.project}.{operations}.{CURRENT_LETTERS}`"
