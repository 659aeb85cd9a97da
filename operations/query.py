"""Ask the warehouse, emulated or real."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import date, datetime
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from rich.console import Console

from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from operations.report import print_rows

__all__ = ["FORMATS", "query"]

FORMATS = ("table", "json", "csv")


def query(warehouse: Warehouse, sql: str, format: str, console: Console) -> None:
    """Print the rows of `sql`. Misuse where BigQuery refuses it."""
    try:
        rows = warehouse.query(sql)
    except GoogleAPICallError as error:
        raise Misuse(f"query: {error.message}") from None
    if format == "table":
        print_rows(console, "", rows)
    elif format == "json":
        print(json.dumps(rows, indent=2, default=_plain, ensure_ascii=False))
    else:
        sink = io.StringIO()
        writer = csv.DictWriter(sink, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(sink.getvalue(), end="")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
