"""Files in: which files belong to which table, and their records as blocks.

A block is a few MB of whole records with their positions: byte offsets (of the decompressed bytes), or row
numbers for Parquet, whose rows travel on as canonical JSON.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import numpy as np

from connectors.compression import Damaged, decompress
from connectors.parquet_rows import NotParquet, parquet_rows
from connectors.storage import Storage, StoredFile
from contracts.csv_records import CsvRecords
from contracts.csv_rows import CsvHeader, parse_header
from contracts.decode import Block, Format
from contracts.records import JsonArray, Lines, Split, Splitter
from contracts.refusal import MAX_STORED_BYTES, ErrorCode, NotClean, Refusal
from contracts.table import Table
from transforms.metrics import BYTES, RECORDS, count
from transforms.progress import PROGRESS

__all__ = ["BLOCK_BYTES", "FileRange", "InputFile", "belonging", "blocks_of", "csv_header", "ranges", "read_blocks"]

BLOCK_BYTES = 1 << 20
RANGE_BYTES = 64 << 20
"""A plain NDJSON file is read in ranges of this size, each by one worker."""
BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
NAME = re.compile(
    r"(?P<table>.+?)(?P<part>_[0-9]+)?\.(?P<format>csv|json|ndjson|jsonl|parquet)(?:\.(?P<compression>gz|zst))?"
)


@dataclass(frozen=True, slots=True, order=True)
class InputFile:
    """A raw file that a run has pinned."""

    table: str
    uri: str
    size: int
    generation: int

    @property
    def format(self) -> str:
        """csv, json, ndjson, jsonl or parquet."""
        return self._name("format")

    @property
    def compression(self) -> str:
        """gz, zst, or '' for a plain file."""
        return self._name("compression")

    def _name(self, group: str) -> str:
        match = NAME.fullmatch(self.uri.rsplit("/", 1)[-1])
        assert match, self.uri
        return match.group(group) or ""


@dataclass(frozen=True, slots=True)
class FileRange:
    """The part of a file that one call reads: the records that start in [start, end); end None is the file's."""

    file: InputFile
    start: int = 0
    end: int | None = None


def belonging(files: Iterable[StoredFile], folder: str, tables: Iterable[str]) -> tuple[list[InputFile], list[str]]:
    """The tables' raw files below `folder`, and the URIs that fit none.

    `<table>/…`, `<table>.<ext>` or `<table>_<digits>.<ext>`: a file belongs to the longest table name that
    fits, so `orders` never takes what is `orders_items`'.
    """
    names = set(tables)
    found: list[InputFile] = []
    others: list[str] = []
    base = folder.rstrip("/") + "/"
    for file in files:
        relative = file.uri.removeprefix(base)
        match = NAME.fullmatch(relative.rsplit("/", 1)[-1])
        table = _table_of(relative, match, names) if match else None
        if table:
            found.append(InputFile(table, file.uri, file.size, file.generation))
        else:
            others.append(file.uri)
    return sorted(found), others


def _table_of(relative: str, match: re.Match[str], names: set[str]) -> str | None:
    if "/" in relative:
        first = relative.split("/", 1)[0]
        return first if first in names else None
    whole = match["table"] + (match["part"] or "")
    return next((name for name in (whole, match["table"]) if name in names), None)


def ranges(storage: Storage, file: InputFile, range_bytes: int = RANGE_BYTES) -> Iterator[FileRange]:
    """The ranges of a file that can be read at the same time; only plain NDJSON has more than one."""
    if file.size <= range_bytes or file.compression or file.format not in ("json", "ndjson", "jsonl"):
        yield FileRange(file)
        return
    with storage.open(file.uri, file.generation) as stream:
        head = stream.read(1024)
    if head[:2] in UTF16_BOMS or _is_array(file, head):
        yield FileRange(file)
        return
    for start in range(0, file.size, range_bytes):
        yield FileRange(file, start, min(start + range_bytes, file.size))


def read_blocks(storage: Storage, part: FileRange, table: Table, limit: int) -> Iterator[Block]:
    """The blocks of a range, in order. A record over `limit` bytes is a refusal of its block.

    A file that is damaged ends with a block that holds one refusal for the file. FileChanged if the file is
    no longer the one that was pinned. PROGRESS and the metrics are told of it.
    """
    reached, end = part.start, part.file.size if part.end is None else part.end
    with storage.open(part.file.uri, part.file.generation) as stream:
        for block in blocks_of(stream, part, table, limit):
            position = max(reached, min(stream.tell(), end))
            PROGRESS.add(bytes=position - reached, records=block.count)
            count(BYTES, position - reached, table.name)
            count(RECORDS, block.count, table.name, "read")
            reached = position
            yield block
    PROGRESS.add(bytes=end - reached)
    count(BYTES, end - reached, table.name)


def blocks_of(stream: BinaryIO, part: FileRange, table: Table | None, limit: int) -> Iterator[Block]:
    """The blocks of a range of an open file; `stream` is seekable. Only CSV asks for the table."""
    file = part.file
    if file.format == "parquet":
        yield from _parquet(file, stream, limit)
    elif part.end is None:
        yield from _whole(file, stream, table, limit)
    else:
        lines = Lines(_first_line(stream, part), limit)
        yield from _blocks(file, _range(stream, part), lines, Format.JSON)


def damaged(file: InputFile, stream: BinaryIO, position: int, why: str) -> Refusal:
    """The one refusal of a file that cannot be read from `position` on."""
    stream.seek(0)
    attributes: dict[str, object] = {"format": "file", "file_format": file.format, "compression": file.compression}
    return Refusal(
        position, stream.read(MAX_STORED_BYTES), ErrorCode.INVALID_ENCODING, f"the file cannot be read: {why}",
        size=file.size, attributes=attributes,
    )  # fmt: skip


def _only(file: InputFile, refusal: Refusal) -> Block:
    return Block(file.uri, Format.JSON, (), np.array([], dtype=np.int64), refusals=(refusal,))


def _is_array(file: InputFile, head: bytes) -> bool:
    return file.format == "json" and head.removeprefix(BOM).lstrip().startswith(b"[")


def _whole(file: InputFile, stream: BinaryIO, table: Table | None, limit: int) -> Iterator[Block]:
    """A file from its beginning to its end, plain or compressed."""
    pieces = _pieces(stream, file.compression)
    try:
        head = next(pieces, b"")
        while len(head) < len(BOM) and (more := next(pieces, b"")):
            head += more
        if head[:2] in UTF16_BOMS:
            yield _only(file, damaged(file, stream, 0, "it is UTF-16, not UTF-8"))
            return
        start = len(BOM) if head.startswith(BOM) else 0
        pieces = chain([head[start:]], pieces)
        if file.format == "csv":
            assert table is not None
            yield from _csv(file, pieces, CsvRecords(start, limit, table.csv), table)
        else:
            splitter: Splitter = JsonArray(start, limit) if _is_array(file, head) else Lines(start, limit)
            yield from _blocks(file, pieces, splitter, Format.JSON)
    except _Cut as cut:
        yield _only(file, damaged(file, stream, cut.read, cut.why))


class _Cut(Exception):
    """The bytes end here, for they are damaged; everything up to here has been given out."""

    def __init__(self, read: int, why: str) -> None:
        super().__init__(why)
        self.read, self.why = read, why


def _pieces(stream: BinaryIO, compression: str) -> Iterator[bytes]:
    read = 0
    try:
        for piece in decompress(stream, compression):
            yield piece
            read += len(piece)
    except Damaged as error:
        raise _Cut(read, str(error)) from None


def _blocks(file: InputFile, pieces: Iterable[bytes], splitter: Splitter, format: Format) -> Iterator[Block]:
    for split in _splits(pieces, splitter):
        if split.records or split.refusals:
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(file.uri, format, split.records, positions, refusals=tuple(split.refusals))


def _splits(pieces: Iterable[bytes], splitter: Splitter) -> Iterator[Split]:
    for piece in pieces:
        yield splitter.feed(piece)
    yield splitter.end()


def _csv(file: InputFile, pieces: Iterable[bytes], splitter: CsvRecords, table: Table) -> Iterator[Block]:
    """CSV blocks under the file's header. A header that no column of the contract is named in is refused itself,
    for it may be a record: the file may have no header."""
    header: CsvHeader | None = None
    for split in _splits(pieces, splitter):
        refusals = list(split.refusals)
        if header is None and split.records:
            raw, position = split.records.pop(0), split.positions.pop(0)
            header, refusal = csv_header(raw, position, table)
            refusals += [refusal] if refusal else []
        if header:
            known = header.attributes()
            refusals = [dataclasses.replace(found, attributes={**known, **found.attributes}) for found in refusals]
        if split.records or refusals:
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(file.uri, Format.CSV, split.records, positions, header, tuple(refusals))


def csv_header(raw: bytes, position: int, table: Table) -> tuple[CsvHeader, Refusal | None]:
    """The header that the first record of a CSV file is, and its refusal if it cannot be one."""
    try:
        header = parse_header(raw, table.csv)
        if any(column.path[0] in header.names for column in table.read_columns):
            return header, None
        raise NotClean(ErrorCode.MALFORMED_CSV, "the header names no column of the contract")
    except NotClean as reason:
        header = CsvHeader(raw, (), table.csv) if reason.code is ErrorCode.INVALID_ENCODING else _unnamed(raw, table)
        attributes = {"format": "csv", "header_record": True, **CsvHeader(b"", (), table.csv).attributes()}
        return header, Refusal(position, raw, reason.code, reason.message, attributes=attributes)


def _unnamed(raw: bytes, table: Table) -> CsvHeader:
    try:
        return parse_header(raw, table.csv)
    except NotClean:
        return CsvHeader(raw, (), table.csv)


def _parquet(file: InputFile, stream: BinaryIO, limit: int) -> Iterator[Block]:
    row = 0
    try:
        for lines in parquet_rows(stream, file.compression):
            split = Split()
            for line in lines:
                split.add(line, row, limit, "json")
                row += 1
            positions = np.array(split.positions, dtype=np.int64)
            yield Block(file.uri, Format.JSON, split.records, positions, refusals=tuple(split.refusals))
    except NotParquet as error:
        yield _only(file, damaged(file, stream, row, str(error)))


def _first_line(stream: BinaryIO, part: FileRange) -> int:
    """Put the stream at the first line that starts in the range; where that is."""
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
    """The bytes from here to the end of the last line that starts in the range."""
    assert part.end is not None
    position = stream.tell()
    while position < part.end:
        piece = stream.read(min(BLOCK_BYTES, part.end - position))
        if not piece:
            return
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
