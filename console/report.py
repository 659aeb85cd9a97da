"""A run's summary and the rows of a query for a person. What they contain is printed as text, never as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.text import Text

from console.layout import cell, columns, fits, is_number, records
from console.printable import printable
from contracts.lineage import LINEAGE

__all__ = ["plain_times", "print_lines", "print_message", "print_rows", "print_summary", "source_of"]

DOORS = {"written": "green", "duplicate": "bright_black", "dead_letter": "yellow"}
"""The doors in the order of their columns, each with its color."""
HEAD = ("table", "read", "written", "duplicate", "dead letter")
RIGHT = (False, True, True, True, True)
GOOD_STATES = ("done", "running")
LINEAGE_NAMES = tuple(column.name for column in LINEAGE)
SHOWN_FILES = 3


def print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Print how a run ended, its records by door and table, and below them its dead letters by code."""
    state = summary["state"]
    title = Text.assemble(
        (printable(f"run {summary['run_id']}: "), "bold"),
        (printable(state), "bold green" if state in GOOD_STATES else "bold red"),
        (f", {summary['seconds']:.1f} s", "bold"),
    )
    console.print(title, soft_wrap=True)
    tables: Mapping[str, Mapping[str, Any]] = summary["tables"]
    if tables:
        _print_doors(console, tables)
        print_lines(console, _codes(tables))
    for remark in _remarks(summary):
        print_message(console, Text(printable(remark)))
    if summary.get("why"):
        print_message(console, Text(printable(f"why: {summary['why']}"), "red"))


def print_message(console: Console, text: Text) -> None:
    """Print a message. A terminal gets it broken between words; a file or a pipe gets it on one line."""
    lines = [text.plain]
    if console.is_terminal:
        lines = wrap(text.plain, console.width, break_long_words=False, break_on_hyphens=False) or [""]
    first, *others = lines
    console.print(Text(first, text.style, spans=text.spans), soft_wrap=True)
    for line in others:
        console.print(Text(line, text.style), soft_wrap=True)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines, however long: the terminal wraps them, and a copied line is one line."""
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)


def plain_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row for a person: its times in UTC, to the second."""
    return {
        name: f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def print_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows of a query as a table, or record by record if the table is wider than the terminal.

    Lineage columns come last.
    """
    if title:
        console.print(Text(printable(title), "bold"), soft_wrap=True)
    if not rows:
        print_lines(console, ["no rows"])
        return
    order = sorted(rows[0], key=lambda name: name in LINEAGE_NAMES)
    names = [printable(name) for name in order]
    cells = [[cell(row[name]) for name in order] for row in rows]
    if not fits(names, cells, console.width):
        print_lines(console, records(names, cells))
        return
    right = [any(is_number(row[name]) for row in rows) for name in order]
    head, *lines = columns(names, cells, right)
    console.print(Text(head, "bold"), soft_wrap=True)
    print_lines(console, lines)


def _print_doors(console: Console, tables: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [[printable(name), *(f"{counts[key]:,}" for key in ("read", *DOORS))] for name, counts in tables.items()]
    head, *lines = columns(HEAD, rows, RIGHT)
    console.print(Text(head, "bold"), soft_wrap=True)
    for line, row, counts in zip(lines, rows, tables.values(), strict=True):
        text, end = Text(line), len(line)
        for number, (door, color) in reversed(list(zip(row[2:], DOORS.items(), strict=True))):
            start = line.rindex(number, 0, end)
            if counts[door]:
                text.stylize(color, start, start + len(number))
            end = start
        console.print(text, soft_wrap=True)


def _codes(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the dead letters by table and code, the most frequent code of a table first."""
    rows = [
        [printable(name), printable(code), f"{count:,}"]
        for name, counts in tables.items()
        for code, count in sorted(counts["dead_letter_by_code"].items(), key=lambda item: (-item[1], item[0]))
    ]
    return ["", *columns(("table", "code", "dead letters"), rows, (False, False, True))] if rows else []


def _missing_columns(table: str, missing: Mapping[str, Any]) -> list[str]:
    lines = []
    if columns := missing.get("columns"):
        names = missing["names"]
        lines.append(
            f"no file of {table} has the column {', '.join(columns)}; the files have {', '.join(names)}:"
            f" {source_of(columns, names)}"
        )
    for column, file in missing.get("in_other_case", {}).items():
        others = [name for name in missing["names"] if name != column]
        lines.append(
            f"the column {column} of {table} is null in the rows of {file.rsplit('/', 1)[-1]}, whose records have the"
            f" key in another case: rename it there, or {source_of([column], others)}"
        )
    return lines


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, counts in summary["tables"].items():
        lines += _missing_columns(name, counts.get("missing_columns") or {})
        lines += _quality(name, counts.get("quality", []))
        if counts["duplicate"] * 2 > counts["read"]:
            lines.append(
                f"more than half of the records of {name} are duplicates: is its key right,"
                " or have they been loaded before?"
            )
    passed_over = summary.get("passed_over") or {"count": 0}
    if count := passed_over["count"]:
        names = ", ".join(file["uri"].rsplit("/", 1)[-1] for file in passed_over["files"][:SHOWN_FILES])
        more = ", …" if count > SHOWN_FILES else ""
        lines.append(f"not read, for they belong to no table: {count:,} {_files(count)} ({names}{more})")
    return lines


def source_of(columns: Sequence[str], names: Sequence[str]) -> str:
    """Return how the contract can name the field of a missing column, with the nearest one if there is any."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    for column in columns:
        wanted = re.sub(r"[^a-z0-9]", "", column.lower())
        if near := get_close_matches(wanted, plain, 1):
            source = f"customProperties: [{{property: source, value: {plain[near[0]]}}}]"
            return f"if {column} is {plain[near[0]]}, write {source} at the column in the contract"
    return "name the field as the column's source in the contract"


def _quality(table: str, rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how many rules of a table are kept, and what is wrong with each of the others."""
    if not rules:
        return []
    others = [rule for rule in rules if rule["outcome"] != "kept"]
    lines = [f"quality of {table}: {len(rules) - len(others)} of {len(rules)} rules are kept"]
    for rule in others:
        if rule["value"] is None:
            lines.append(f"  {rule['rule']} cannot be checked: {rule['why']}")
        else:
            lines.append(f"  {rule['severity']}: {rule['rule']} is {rule['value']:.15g}, {rule['expected']}")
    return lines


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
