"""Read a file as blocks of records.

A block is about BLOCK_BYTES of whole records with their positions: byte offsets in the decompressed file, or row
numbers for Parquet, Avro and ORC, whose rows become canonical JSON.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import numpy as np
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from connectors.files.compression import MAGIC_BYTES, Damaged, decompress, detected
from connectors.files.csv_headers import csv_blocks, with_dialect
from connectors.files.json_files import BOM, head_and_rest, json_splitter, wide_encoding
from connectors.files.line_ends import text_lines
from connectors.files.names import InputFile
from connectors.files.storage import FileChanged, ReadFailed, Storage
from connectors.files.table_rows import TABLE_FORMATS, UnreadableRows, table_rows
from connectors.files.unreadable import Unreadable, damaged, only
from contracts.decoding.csv_records import CsvRecords
from contracts.decoding.decoder import Block, Format
from contracts.decoding.json_array import JsonDocuments
from contracts.decoding.json_forms import HEAD_BYTES
from contracts.decoding.json_path import JsonPath
from contracts.decoding.json_records import JsonLines
from contracts.decoding.records import Splitter, splits
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Table

__all__ = ["BLOCK_BYTES", "MAX_EXPANSION", "FileRange", "blocks_of", "ranges", "read_blocks"]

BLOCK_BYTES = 1 << 20
RANGE_BYTES = 64 << 20
"""A plain NDJSON file is read in ranges of this size, in parallel."""
MAX_EXPANSION = 1000
"""The largest expansion of a compressed file: ten times the expansion of repetitive logs."""
EXPANSION_FROM = 100_000_000
"""Bytes that every compressed file may expand to, however small it is."""
NOT_ABOUT_DATA = (FileChanged, ReadFailed, GoogleAPIError, GoogleAuthError)
"""Errors that the content of a file does not cause."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileRange:
    """A part of a file: the records that start in [start, end). Without `end` it is the rest of the file."""

    file: InputFile
    start: int = 0
    end: int | None = None


def ranges(
    storage: Storage, file: InputFile, table: Table | None = None, range_bytes: int = RANGE_BYTES
) -> Iterator[FileRange]:
    """Split a file into ranges that can be read in parallel; only plain NDJSON has more than one."""
    if (
        (table and table.records_path)
        or file.size <= range_bytes
        or file.compression
        or file.format not in ("json", "ndjson", "jsonl")
    ):
        yield FileRange(file)
        return
    with storage.open(file.uri, file.generation, file.size) as stream:
        head = stream.read(HEAD_BYTES)
    if detected(head) or not _has_lines(file, head, table):
        yield FileRange(file)
        return
    for start in range(0, file.size, range_bytes):
        yield FileRange(file, start, min(start + range_bytes, file.size))


def read_blocks(
    storage: Storage,
    part: FileRange,
    table: Table,
    limit: int,
    max_expansion: int = MAX_EXPANSION,
    on_read: Callable[[int, int], None] = lambda _bytes, _records: None,
) -> Iterator[Block]:
    """Yield the blocks of a range, in order. A record over `limit` bytes is refused.

    A damaged file ends with a block that has one refusal for the file, and so does a file that expands to more than
    `max_expansion` times its size and more than EXPANSION_FROM bytes. Raises FileChanged if the file is not the pinned
    one, and ReadFailed if it cannot be read. `on_read(bytes, records)` is called with what was read since the last
    call: bytes of the file as it is stored, and records.
    """
    max_bytes = max(EXPANSION_FROM, max_expansion * part.file.size)
    reached, end = part.start, part.file.size if part.end is None else part.end
    with storage.open(part.file.uri, part.file.generation, part.file.size) as stream:
        for block in blocks_of(stream, part, table, limit, max_bytes):
            position = max(reached, min(stream.tell(), end))
            on_read(position - reached, block.count)
            reached = position
            yield dataclasses.replace(block, origin=_origin(part.file))
    on_read(end - reached, 0)


def _origin(file: InputFile) -> str:
    """Return what names the file and its generation, from whatever folder a local file was listed."""
    uri = file.uri if "://" in file.uri else os.path.abspath(file.uri)
    return f"{uri}#{file.generation}"


def blocks_of(
    stream: BinaryIO, part: FileRange, table: Table | None, limit: int, max_bytes: int | None = None
) -> Iterator[Block]:
    """Yield the blocks of a range of an open file; `stream` must be seekable. Only CSV needs the table.

    `max_bytes` is how far a compressed file may expand. An error that the data causes in a reader becomes the refusal
    of the rest of the file; only errors of NOT_ABOUT_DATA are raised.
    """
    position = part.start
    try:
        for block in _read(stream, part, table, limit, max_bytes):
            yield block
            position = _end_of(block, position, rows=part.file.format in TABLE_FORMATS)
    except NOT_ABOUT_DATA:
        raise
    except Exception as error:
        logger.debug("%s cannot be read from position %d", part.file.uri, position, exc_info=True)
        yield only(part.file, damaged(part.file, stream, position, f"{type(error).__name__}: {error}"))


def _end_of(block: Block, position: int, rows: bool) -> int:
    """Return the position behind the last record of a block, but not less than `position`."""
    ends = [
        int(at) + (1 if rows else len(raw)) for at, raw in zip(block.positions[-1:], block.records[-1:], strict=True)
    ]
    ends += [each.position + (1 if rows else each.size or len(each.raw)) for each in block.refusals[-1:]]
    return max([position, *ends])


def _read(stream: BinaryIO, part: FileRange, table: Table | None, limit: int, max_bytes: int | None) -> Iterator[Block]:
    file = part.file
    if file.format in TABLE_FORMATS:
        yield from _rows(file, stream, table, limit)
    elif part.end is None:
        yield from _all(file, stream, table, limit, max_bytes)
    else:
        lines = JsonLines(_first_line(stream, part), limit)
        yield from _blocks(file, _range(stream, part), lines, Format.JSON)


def _has_lines(file: InputFile, head: bytes, table: Table | None) -> bool:
    """Whether a file of JSON that begins with these bytes has a record on each line, so that ranges of it are read."""
    try:
        splitter = json_splitter(file, head.removeprefix(BOM), 0, 0, table, whole=False)
    except Unreadable:
        return False
    return type(splitter) is JsonLines and not wide_encoding(head)


def _all(file: InputFile, stream: BinaryIO, table: Table | None, limit: int, max_bytes: int | None) -> Iterator[Block]:
    """Yield the blocks of a whole file, plain or compressed."""
    try:
        head, whole, pieces = head_and_rest(_pieces(stream, file.compression, max_bytes))
        if wide := wide_encoding(head):
            raise Unreadable(0, f"it is {wide}, not UTF-8; convert it with iconv -f {wide} -t UTF-8")
        start = len(BOM) if head.startswith(BOM) else 0
        head = head[start:]
        pieces = chain([head], pieces)
        if file.format in ("csv", "tsv"):
            assert table is not None
            lines = text_lines(pieces, start, table.csv.skip_lines)
            table = with_dialect(table, file.format, lines.delimiter)
            yield from csv_blocks(file, lines.pieces, CsvRecords(lines.start, limit, table.csv), table)
        elif table and table.records_path:
            yield from _inside_documents(file, pieces, JsonPath(start, limit, table.records_path))
        else:
            splitter = json_splitter(file, head, start, limit, table, whole=whole)
            yield from _blocks(file, pieces, splitter, Format.JSON)
            if isinstance(splitter, JsonDocuments) and (end := splitter.unclosed) is not None:
                raise Unreadable(end, "its JSON array is not closed, it is cut off", ErrorCode.MALFORMED_JSON)
    except Unreadable as cut:
        yield only(file, damaged(file, stream, cut.read, cut.why, cut.code))


def _inside_documents(file: InputFile, pieces: Iterable[bytes], splitter: JsonPath) -> Iterator[Block]:
    try:
        yield from _blocks(file, pieces, splitter, Format.JSON)
    except NotClean as problem:
        raise Unreadable(splitter.position, problem.message, problem.code) from None


def _pieces(stream: BinaryIO, compression: str, max_bytes: int | None) -> Iterator[bytes]:
    read = 0
    try:
        for piece in decompress(stream, compression, max_bytes):
            yield piece
            read += len(piece)
    except Damaged as error:
        raise Unreadable(read, str(error)) from None


def _blocks(file: InputFile, pieces: Iterable[bytes], splitter: Splitter, format: Format) -> Iterator[Block]:
    for split in splits(pieces, splitter):
        if split.records or split.refusals:
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(file.uri, format, split.records, positions, refusals=tuple(split.refusals))


def _rows(file: InputFile, stream: BinaryIO, table: Table | None, limit: int) -> Iterator[Block]:
    try:
        compression = file.compression or detected(stream.read(MAGIC_BYTES))
        stream.seek(0)
        for split in table_rows(stream, TABLE_FORMATS[file.format], compression, table, limit):
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(
                file.uri, Format.JSON, split.records, positions, refusals=tuple(split.refusals), fields=split.fields
            )
    except UnreadableRows as error:
        yield only(file, damaged(file, stream, error.row, str(error)))


def _first_line(stream: BinaryIO, part: FileRange) -> int:
    """Move the stream to the first line that starts in the range; return its position."""
    if part.start == 0:
        start = len(BOM) if stream.read(len(BOM)) == BOM else 0
        stream.seek(start)
        return start
    stream.seek(part.start - 1)
    position = part.start - 1
    while piece := stream.read(BLOCK_BYTES):
        if (end := piece.find(b"\n")) >= 0:
            position += end + 1
            break
        position += len(piece)
    stream.seek(position)
    return position


def _range(stream: BinaryIO, part: FileRange) -> Iterator[bytes]:
    """Yield the bytes from the stream's position to the end of the last line that starts in the range."""
    assert part.end is not None
    position = stream.tell()
    while position < part.end:
        piece = stream.read(min(BLOCK_BYTES, part.end - position))
        if not piece:
            raise ReadFailed(f"{part.file.uri} ends at byte {position:,}, expected {part.file.size:,}")
        position += len(piece)
        ends = piece.endswith(b"\n")
        yield piece
        if position == part.end and not ends:
            yield from _rest_of_line(stream)


def _rest_of_line(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(1 << 16):
        end = piece.find(b"\n")
        yield piece if end < 0 else piece[: end + 1]
        if end >= 0:
            return
