"""Lines of text files before they are records: line ends of old Macs, lines to skip, and Excel's first line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

__all__ = ["EXCEL_LINE", "TextLines", "text_lines"]

HEAD_BYTES = 1 << 16
"""A file has lone carriage returns as line ends if its first bytes have some, and no newline."""
EXCEL_LINE = re.compile(rb"""("?)sep=([^\w"'\\\r\n])\1\r?\n""")
"""The first line of a file for Excel: it names the delimiter, and is no record."""


class TextLines(NamedTuple):
    """The lines of a file that hold its header and records."""

    start: int
    """The offset of the first of them."""
    pieces: Iterator[bytes]
    delimiter: str
    """The delimiter that the file itself names in its first line, "" if it has no such line."""


def text_lines(pieces: Iterator[bytes], start: int, skip: int) -> TextLines:
    """Return the lines behind the first `skip`, or behind the line `sep=;` if there are none to skip.

    Lone carriage returns become newlines, also inside quotes, if they are the line ends of the file.
    """
    head = b""
    for piece in pieces:
        head += piece
        if b"\n" in head or len(head) >= HEAD_BYTES:
            break
    pieces = chain([head], pieces)
    if b"\r" in head and b"\n" not in head:
        pieces = (piece.replace(b"\r", b"\n") for piece in pieces)
        head = head.replace(b"\r", b"\n")
    delimiter = match[2].decode() if (match := EXCEL_LINE.match(head)) else ""
    skip = max(skip, bool(delimiter))
    for piece in pieces:
        position = 0
        while skip and (end := piece.find(b"\n", position)) >= 0:
            skip, position = skip - 1, end + 1
        if not skip:
            return TextLines(start + position, chain([piece[position:]], pieces), delimiter)
        start += len(piece)
    return TextLines(start, iter(()), delimiter)
