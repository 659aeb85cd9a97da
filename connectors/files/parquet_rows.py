"""Rows of a Parquet file as canonical JSON lines, so that one decoder validates all formats.

Only the columns that the contract reads are read, or all if it keeps or refuses unknown fields. Decimals become text,
dates and timestamps ISO 8601, in UTC with `Z` if their type has a zone. Bytes of a BYTES column become base64. Other
bytes stay unchanged; if they are not UTF-8, their row is a dead letter. NaN and the infinities become text, which a
FLOAT column refuses with invalid_value.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.files.arrow_values import Base64, json_sizes, json_values
from connectors.files.compression import Damaged, decompress
from connectors.files.parquet_footer import DELTA, DELTA_TEXT, column_chunks
from contracts.bisect import DATA_ERRORS, bisect
from contracts.decoding.derived_columns import first_line
from contracts.decoding.field_names import match_names
from contracts.decoding.records import Fields, Split
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["MAX_DECOMPRESSED_BYTES", "NotParquet", "parquet_rows"]

BATCH_ROWS, BLOCK_ROWS, BLOCK_BYTES = 1_024, 16_384, 1 << 20
PIECE_BYTES = 4 << 20
"""Rows are converted in pieces of about this size: a file may store a text once and refer to it in every row."""
MAX_DECOMPRESSED_BYTES = 4 << 30
"""The most bytes of a Parquet file in a compressed file: it needs a temporary file, since its footer is at the end."""
MAGIC = b"PAR1"
BYTE_ARRAY = "BYTE_ARRAY"
MAX_DEPTH = 100
FEW_ROWS = 64
"""Rows of a batch whose texts Arrow decodes itself: a few stored bytes may become a long text."""


class NotParquet(Exception):
    """The file is not Parquet, or is damaged from row number `row` on (from 0)."""

    def __init__(self, why: str, row: int) -> None:
        super().__init__(why)
        self.row = row


def parquet_rows(stream: BinaryIO, compression: str, table: Table | None, limit: int) -> Iterator[Split]:
    """Yield the rows in order, some MB at a time, each as a line of JSON without newline; positions are row numbers.

    A row of more than `limit` bytes, or one that cannot be converted, becomes a refusal. `table` None reads all
    columns. Raises NotParquet if the file cannot be read any further, and any error of reading `stream`.
    """
    held, size = Split(), 0
    try:
        for split in _splits(stream, compression, table, limit):
            held.records += split.records
            held.positions += split.positions
            held.refusals += split.refusals
            held.fields = held.fields or split.fields
            size += sum(map(len, split.records))
            if size >= BLOCK_BYTES or len(held.records) + len(held.refusals) >= BLOCK_ROWS:
                yield held
                held, size = Split(), 0
    except NotParquet:
        if held.records or held.refusals:
            yield held
        raise
    if held.records or held.refusals:
        yield held


def _splits(stream: BinaryIO, compression: str, table: Table | None, limit: int) -> Iterator[Split]:
    source, row = _Source(stream), 0
    with ExitStack() as stack:
        encoded = base64_fields(table.read_columns) if table else {}
        try:
            file: Any = stack.enter_context(_decompressed(source, compression)) if compression else source
            for batch, fields in _batches(file, table):
                for piece, sizes in _pieces(batch):
                    split = _split(piece, sizes, row, limit, encoded)
                    split.fields = None if row else fields
                    yield split
                    row += piece.num_rows
        except DATA_ERRORS as error:
            if source.error is not None:
                raise source.error from None
            raise NotParquet(first_line(error) or type(error).__name__, row) from None


class _Source:
    """The stream for Arrow, which replaces every error by one of its own: this keeps the errors of reading."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: BaseException | None = None
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._kept(self._stream.read, size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        position: int = self._kept(self._stream.seek, offset, whence)
        return position

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self.closed = True

    def _kept(self, call: Any, *arguments: int) -> Any:
        try:
            return call(*arguments)
        except BaseException as error:
            self.error = error
            raise


def _decompressed(source: _Source, compression: str) -> IO[bytes]:
    """Return the decompressed file as a temporary file. Raises Damaged if it is not Parquet or too large."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        size, head = 0, b""
        for piece in decompress(source, compression):  # type: ignore[arg-type]  # it has read and seek, which is enough
            head = (head + piece[: len(MAGIC)])[: len(MAGIC)]
            size += len(piece)
            if not MAGIC.startswith(head):
                raise Damaged("the decompressed data is not Parquet")
            if size > MAX_DECOMPRESSED_BYTES:
                raise Damaged(f"it decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes")
            file.write(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _batches(source: Any, table: Table | None) -> Iterator[tuple[pa.RecordBatch, Fields]]:
    """Yield batches of the columns that `table` reads, under its names, each with all fields of the file."""
    file = pq.ParquetFile(source)
    metadata = file.metadata
    fields = {field.name: _fields(field.type) for field in file.schema_arrow}
    names = _names(file.schema_arrow.names, table)
    tops = _tops(file)
    leaves = [file.schema.column(number) for number, top in enumerate(tops) if top in names]
    numbers = [number for number, top in enumerate(tops) if top in names]
    paths = [leaf.path for leaf in leaves]
    chunks = [[group[number] for number in numbers] for group in column_chunks(source)]
    encodings = [frozenset().union(*(chunk.encodings for chunk in column)) for column in zip(*chunks, strict=True)]
    # Texts stay dictionary-encoded until a piece of rows is converted, so that each is stored once. Arrow cannot do
    # that for texts that are stored as differences.
    texts = [
        leaf.path
        for leaf, encoded in zip(leaves, encodings, strict=False)
        if leaf.physical_type == BYTE_ARRAY and not encoded & DELTA
    ]
    most = FEW_ROWS if any(DELTA_TEXT in encoded for encoded in encodings) else BATCH_ROWS
    called = {file.schema_arrow.names[number]: name for number, name in names.items()}
    file = pq.ParquetFile(source, metadata=metadata, read_dictionary=texts, coerce_int96_timestamp_unit="us")
    total = 0
    for group, columns in zip(range(metadata.num_row_groups), chunks, strict=True):
        stated, given = int(metadata.row_group(group).num_rows), 0
        size = sum(chunk.bytes for chunk in columns) // max(stated, 1)
        rows = max(1, min(most, PIECE_BYTES // max(size, 1)))
        for batch in file.iter_batches(rows, row_groups=[group], columns=paths):
            read = {called[name]: batch.column(at) for at, name in enumerate(batch.schema.names) if name in called}
            yield pa.RecordBatch.from_arrays(list(read.values()), names=list(read)), fields
            given += batch.num_rows
        if given != stated:
            raise ValueError(f"row group {group} has {given} rows, its metadata says {stated}")
        total += given
    if total != metadata.num_rows:
        raise ValueError(f"it has {total} rows, its metadata says {metadata.num_rows}")


def _fields(kind: Any, depth: int = 1) -> Fields | None:
    """Return the fields of a type (of a list those of its elements), to a depth that no contract reaches."""
    if isinstance(kind, pa.BaseExtensionType):
        return _fields(kind.storage_type, depth)
    if depth > MAX_DEPTH or not pa.types.is_nested(kind):
        return None
    if pa.types.is_struct(kind):
        return {field.name: _fields(field.type, depth + 1) for field in kind}
    if pa.types.is_map(kind):
        return {"key": _fields(kind.key_type, depth + 1), "value": _fields(kind.item_type, depth + 1)}
    return _fields(kind.value_type, depth + 1) if hasattr(kind, "value_type") else None


def _tops(file: pq.ParquetFile) -> list[int]:
    """Return for each leaf of the schema the number of its column. Raises ValueError for an unknown type."""

    def leaves(kind: Any) -> int:
        if isinstance(kind, pa.BaseExtensionType):
            return leaves(kind.storage_type)
        inner: list[int] = [leaves(kind.field(at).type) for at in range(kind.num_fields)]
        return sum(inner) or 1

    tops = [number for number, field in enumerate(file.schema_arrow) for _ in range(leaves(field.type))]
    if len(tops) != len(file.schema):
        raise ValueError("it has a column of an unknown type")
    return tops


def _names(columns: list[str], table: Table | None) -> dict[int, str]:
    """Return the names in the contract of the columns of a file, by number; columns that are not read are left out.

    As in BigQuery, case and outer blanks are ignored. Raises ValueError if two columns have the same name then, or if
    no column is read.
    """
    if table is None:
        names = dict(enumerate(columns))
    else:
        steps = {column.path[0] for column in table.read_columns}
        every = table.unknown_fields is not UnknownFields.IGNORE
        called = [
            field or (name if every else None) for name, field in zip(columns, match_names(columns, steps), strict=True)
        ]
        names = {number: name for number, name in enumerate(called) if name is not None}
        if not steps.intersection(names.values()):
            raise ValueError("it names no column of the contract")
    stated = list(names.values())
    if twice := sorted({name for name in stated if stated.count(name) > 1}):
        raise ValueError(f"it has several columns {', '.join(twice[:5])}")
    return names


def _pieces(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Yield the batch in pieces of about PIECE_BYTES of JSON, at least one row, with estimated sizes of the rows."""
    sizes = sum((json_sizes(column) for column in batch.columns), np.zeros(batch.num_rows, dtype=np.int64))
    ends = np.cumsum(sizes)
    start = 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + PIECE_BYTES, side="right")))
        yield batch.slice(start, end - start), sizes[start:end]
        start = end


def _split(
    rows: pa.RecordBatch, sizes: npt.NDArray[np.int64], first: int, limit: int, encoded: Mapping[str, Base64]
) -> Split:
    """Return the rows as records and refusals; `first` is the number of the first row."""
    split = Split()
    attributes: dict[str, object] = {"format": "json"}
    if len(sizes) == 1 and sizes[0] > limit + PIECE_BYTES:  # known without converting it
        message = f"the row has about {sizes[0]} bytes; the limit is {limit}"
        code = ErrorCode.RECORD_TOO_LARGE
        split.refusals.append(Refusal(first, b"", code, message, size=int(sizes[0]), attributes=attributes))
        return split
    arrays = zip(rows.schema.names, rows.columns, strict=True)
    columns = zip(*(json_values(array, encoded.get(name, False)) for name, array in arrays), strict=True)
    records = [dict(zip(rows.schema.names, values, strict=True)) for values in columns]
    written, failures = bisect(range(len(records)), lambda part: [(at, canonical_json(records[at])) for at in part])
    for at, line in chain.from_iterable(written):
        split.add(line, first + at, limit, "json")
    for at, error in failures:
        message = f"{type(error).__name__}: {first_line(error)}"
        code = ErrorCode.UNPROCESSABLE
        split.refusals.append(Refusal(first + at, b"", code, message, size=int(sizes[at]), attributes=attributes))
    return split


def base64_fields(columns: Iterable[Column]) -> dict[str, Base64]:
    """Return which fields of a record are bytes for the contract, by name, nested like the record."""
    fields: dict[str, Any] = {}
    for column in columns:
        *above, last = column.path
        within = fields
        for step in above:
            within = within.setdefault(step, {})
            if not isinstance(within, dict):
                break
        else:
            within[last] = base64_fields(column.fields) if column.fields else column.kind is Kind.BYTES
    return fields


def canonical_json(record: dict[str, object]) -> bytes:
    """Return one row as JSON, in the order of its columns, with the original bytes of `surrogateescape` text."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogateescape")
