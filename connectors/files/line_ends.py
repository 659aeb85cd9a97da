"""Lines of text files before they are records: line ends of old Macs, and lines to skip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

__all__ = ["text_lines"]

HEAD_BYTES = 1 << 16
"""A file has lone carriage returns as line ends if its first bytes have some, and no newline."""


def text_lines(pieces: Iterator[bytes], start: int, skip: int) -> tuple[int, Iterator[bytes]]:
    """Return where the lines behind the first `skip` begin, and the pieces from there on.

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
    for piece in pieces:
        position = 0
        while skip and (end := piece.find(b"\n", position)) >= 0:
            skip, position = skip - 1, end + 1
        if not skip:
            return start + position, chain([piece[position:]], pieces)
        start += len(piece)
    return start, iter(())
