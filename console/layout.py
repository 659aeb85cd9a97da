"""Columns and records of plain text. No line is cut, and no word is broken: the terminal shows what the data says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.cells import cell_len

from console.printable import printable

__all__ = ["cell", "columns", "fits", "is_number", "records"]

GAP = "  "
"""Between two columns."""


def cell(value: Any) -> str:
    """Return a value as text on one line.

    NULL is '', an exact number has no trailing zeros, a BOOL, a record and an array are JSON.
    """
    if value is None:
        return ""
    if isinstance(value, Decimal) and value.is_finite():
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    elif isinstance(value, bool | dict | list):
        value = json.dumps(value, default=cell, ensure_ascii=False)
    return printable(str(value))


def is_number(value: Any) -> bool:
    """Return whether a value belongs at the right of its column."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return the lines of a table: the head, then the rows. `right` names the columns that are aligned right."""
    widths = _widths(head, rows)
    return [_line(row, widths, right) for row in (head, *rows)]


def fits(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether `columns` needs at most `width` cells."""
    widths = _widths(head, rows)
    return sum(widths) + len(GAP) * (len(widths) - 1) <= width


def records(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows one below the other, each column on a line."""
    width = max(map(cell_len, names))
    lines: list[str] = []
    for number, row in enumerate(rows, 1):
        lines.append(f"record {number} of {len(rows)}")
        lines += [f"  {_padded(name, width)}{GAP}{value}".rstrip() for name, value in zip(names, row, strict=True)]
    return lines


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, texts)) for texts in zip(head, *rows, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = [_padded(text, width, at_right) for text, width, at_right in zip(row, widths, right, strict=True)]
    return GAP.join(cells).rstrip()


def _padded(text: str, width: int, at_right: bool = False) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if at_right else text + blanks
