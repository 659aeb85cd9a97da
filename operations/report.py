"""A run's summary for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["print_lines", "print_rows", "print_summary"]


def print_summary(console: Console, found: Mapping[str, Any]) -> None:
    """The ledger of a run as a table, and how it ended."""
    table = Table(title=f"run {found['run_id']}: {found['state']}, {found['seconds']:.1f} s")
    table.add_column("table")
    for name in ("read", "written", "duplicate", "dead letter"):
        table.add_column(name, justify="right")
    table.add_column("dead letters by code")
    for name, counts in found["tables"].items():
        codes = ", ".join(f"{code} {count}" for code, count in sorted(counts["dead_letter_by_code"].items()))
        numbers = (f"{counts[key]:,}" for key in ("read", "written", "duplicate", "dead_letter"))
        table.add_row(name, *numbers, codes)
    console.print(table)
    if found.get("why"):
        console.print(f"why: {found['why']}", markup=False)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Lines as they are, however long."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Rows of a query as a table."""
    table = Table(title=title)
    for name in rows[0] if rows else ["no rows"]:
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)
