"""Files of JSON: which splitter reads one, by its first bytes, and what no splitter can read."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.files.names import InputFile
from connectors.files.unreadable import Unreadable
from contracts.decoding.json_array import JsonDocuments
from contracts.decoding.json_forms import HEAD_BYTES, JsonForm, read_head, records_inside
from contracts.decoding.json_records import CommaLines, JsonLines
from contracts.refusal import ErrorCode
from contracts.table import Table

__all__ = ["BOM", "head_and_rest", "json_splitter", "wide_encoding"]

BOM = b"\xef\xbb\xbf"
WIDE_BOMS = {"UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "UTF-16": (b"\xff\xfe", b"\xfe\xff")}
WIDE_BYTES = range(8, 33)
"""How many bytes show an encoding without a byte order mark: half of them or more are zero, and always the same."""


def head_and_rest(pieces: Iterator[bytes]) -> tuple[bytes, bool, Iterator[bytes]]:
    """Return the first HEAD_BYTES or more, whether these are all, and the pieces behind them.

    If the pieces end with an error before, the rest raises it.
    """
    head = b""
    while len(head) < HEAD_BYTES:
        try:
            piece = next(pieces)
        except StopIteration:
            return head, True, pieces
        except Unreadable as error:
            return head, False, _raising(error)
        head += piece
    return head, False, pieces


def _raising(error: Unreadable) -> Iterator[bytes]:
    yield from ()
    raise error


def wide_encoding(head: bytes) -> str:
    """Return UTF-16 or UTF-32 if the first bytes of a text show it, with or without a byte order mark; else ""."""
    for name, marks in WIDE_BOMS.items():
        if head.startswith(marks):
            return name
    first = head[: WIDE_BYTES.stop - 1]
    if len(first) not in WIDE_BYTES or any(first[::2]) == any(first[1::2]):
        return ""
    order, shown = ("LE", first[::2]) if any(first[::2]) else ("BE", first[1::2])
    if all(shown):
        return f"UTF-16{order}"
    return f"UTF-32{order}" if all(shown[::2] if order == "LE" else shown[1::2]) else ""


def json_splitter(
    file: InputFile, head: bytes, start: int, limit: int, table: Table | None, *, whole: bool
) -> JsonLines | JsonDocuments:
    """Return the splitter for a file that begins with these bytes; `whole` if it has no others.

    `start` is the offset of the first byte behind the byte order mark. Raises Unreadable if the records are inside a
    document and the contract does not say where.
    """
    shown = read_head(head[:HEAD_BYTES], whole=whole and len(head) <= HEAD_BYTES)
    fields = (
        {column.path[0] for column in table.read_columns if column.path_part is None and not column.file_name}
        if table
        else ()
    )
    if path := ".".join(records_inside(shown.first, fields)):
        why = f"its records are inside a document, in the array {path}; set recordsPath: {path} for the table"
        raise Unreadable(0, why, ErrorCode.MALFORMED_JSON)
    if shown.form is JsonForm.DOCUMENTS or (file.format == "json" and head.lstrip().startswith(b"[")):
        return JsonDocuments(start, limit)
    return (CommaLines if shown.form is JsonForm.COMMA_LINES else JsonLines)(start, limit)
