"""Ask the warehouse, emulated or real."""

from __future__ import annotations

import base64
import csv
import difflib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from rich.console import Console

from connectors.bigquery.warehouse import Warehouse
from connectors.google.errors import meaning_of, reason
from console.printable import printable, printable_json
from console.report import print_lines, print_rows
from contracts.errors import Unavailable, UsageError

__all__ = ["FORMATS", "SHOWN_ROWS", "Answer", "ask", "print_answer"]

FORMATS = ("table", "json", "csv")
SHOWN_ROWS = 100
"""How many rows a table for a person has, if no limit is given."""
MISSING = re.compile(r"\b(Table|Dataset) [\"'`]?([^\s\"'`]+)[\"'`]? (?:was not found|must be qualified)")
"""The message of BigQuery about a table or a dataset that does not exist, and about a table without a dataset."""
MOST_DATASETS = 20
"""In how many datasets to search for a table that is named without its dataset."""


@dataclass(frozen=True)
class Answer:
    """The rows of a statement, all of them or the first ones."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    total: int


def ask(warehouse: Warehouse, sql: str, format: str, limit: int | None = None) -> Answer:
    """Return the rows of `sql`: at most `limit`, or SHOWN_ROWS for a table.

    Raises UsageError if BigQuery refuses the statement.
    """
    if limit is None and format == "table":
        limit = SHOWN_ROWS
    try:
        result = warehouse.client.query(sql, location=warehouse.location).result(max_results=limit)
        texts = {field.name for field in result.schema if field.field_type == "JSON" and field.mode != "REPEATED"}
        rows = [{name: _json(value) if name in texts else value for name, value in row.items()} for row in result]
    except GoogleAPICallError as error:
        if meaning_of(error) is Unavailable:
            raise
        refusal = reason(error)
        raise UsageError(f"query: {_missing(warehouse, refusal) or refusal}") from None
    return Answer([field.name for field in result.schema], rows, max(result.total_rows or 0, len(rows)))


def print_answer(answer: Answer, format: str, console: Console) -> None:
    """Print the rows in one of FORMATS."""
    rows = answer.rows
    if format == "table":
        print_rows(console, "", rows)
        if answer.total > len(rows):
            print_lines(
                console,
                [
                    f"the first {len(rows):,} of {answer.total:,} rows; --format csv or json has all of them,"
                    " --limit N shows more"
                ],
            )
    elif format == "json":
        print(printable_json(rows, _plain))
    else:
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\n")
        shown = printable if console.is_terminal else str  # a program gets the values unchanged
        writer.writerow([shown(name) for name in answer.columns])
        writer.writerows(["" if value is None else shown(str(value)) for value in row.values()] for row in rows)
        print(sink.getvalue(), end="")


def _json(value: Any) -> str | None:
    """Return a JSON value as text, as BigQuery prints it and as the client returns a nested one."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _missing(warehouse: Warehouse, message: str) -> str | None:
    """Return which tables or datasets exist, for an error about a missing one; None for another error."""
    match = MISSING.search(message)
    if match is None:
        return None
    kind, name = match[1], re.sub(r"^[\w.-]+:", "", match[2])
    parts = name.split(".")[-2:] if kind == "Table" else [name.rpartition(".")[2]]
    try:
        datasets = sorted(dataset.dataset_id for dataset in warehouse.client.list_datasets())
        if not datasets:
            return f"there is no {kind.lower()} {name}, and no dataset yet: a batch, a stream or setup creates them"
        if parts[0] not in datasets and (kind == "Dataset" or len(parts) == 2):
            return f"there is no dataset {parts[0]}{_near(parts[0], datasets)}; there are {', '.join(datasets)}"
        within = parts[:1] if len(parts) == 2 else datasets[:MOST_DATASETS]
        tables = sorted(f"{dataset}.{table}" for dataset in within for table in warehouse.tables(dataset, ""))
    except GoogleAPICallError:
        return None
    if len(parts) == 1:
        return f"name the dataset of {name} too{_near(name, tables)}; there are the datasets {', '.join(datasets)}"
    existing = f"{parts[0]} has {', '.join(table.partition('.')[2] for table in tables) or 'no table'}"
    return f"there is no table {'.'.join(parts)}{_near('.'.join(parts), tables)}; {existing}"


def _near(name: str, known: list[str]) -> str:
    """Return ` (did you mean …?)` with the known names that end in `name` or are most like it, '' if none is."""
    near = [candidate for candidate in known if candidate.endswith(f".{name}")] or difflib.get_close_matches(
        name, known, 1
    )
    return f" (did you mean {' or '.join(near)}?)" if near else ""
