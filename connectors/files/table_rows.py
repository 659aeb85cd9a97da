"""Rows of a Parquet, Avro or ORC file as canonical JSON lines, so that one decoder validates all formats.

Only the columns that the contract reads are read, or all if it keeps or refuses unknown fields. Decimals become text,
dates and timestamps ISO 8601, in UTC with `Z` if their type has a zone. Bytes of a BYTES column become base64. Other
bytes stay unchanged; if they are not UTF-8, their row is a dead letter. NaN and the infinities become text, which a
FLOAT column refuses with invalid_value.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from typing import IO, Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.files.arrow_values import Base64, json_sizes, json_values
from connectors.files.avro_batches import avro_batches
from connectors.files.avro_container import MAGIC as AVRO
from connectors.files.columns_read import Batch
from connectors.files.compression import Damaged, decompress
from connectors.files.orc_batches import orc_batches
from connectors.files.parquet_batches import parquet_batches
from contracts.bisect import DATA_ERRORS, bisect
from contracts.decoding.derived_columns import first_line
from contracts.decoding.records import Split
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Column, Kind, Table

__all__ = ["MAX_DECOMPRESSED_BYTES", "TABLE_FORMATS", "UnreadableRows", "table_rows"]

BLOCK_ROWS, BLOCK_BYTES = 16_384, 1 << 20
PIECE_BYTES = 4 << 20
"""Rows are converted in pieces of about this size: a file may store a text once and refer to it in every row."""
MAX_DECOMPRESSED_BYTES = 4 << 30
"""The most bytes of such a file in a compressed file: it needs a temporary file, since footers are at the end."""


ENCODER = msgspec.json.Encoder()
"""Five times as fast as `json`, and refuses what is not UTF-8."""


class TableFormat(NamedTuple):
    """A format of files with a schema. `magic`: their first bytes; `batches`: how the rows of an open one are read."""

    name: str
    magic: bytes
    batches: Callable[[Any, Table | None], Iterator[Batch]]


TABLE_FORMATS = {
    "parquet": TableFormat("Parquet", b"PAR1", parquet_batches),
    "avro": TableFormat("Avro", AVRO, avro_batches),
    "orc": TableFormat("ORC", b"ORC", orc_batches),
}
"""By the name that `InputFile.format` has for them."""


class UnreadableRows(Exception):
    """The file is not of its format, or is damaged from row number `row` on (from 0)."""

    def __init__(self, why: str, row: int) -> None:
        super().__init__(why)
        self.row = row


def table_rows(
    stream: BinaryIO, format: TableFormat, compression: str, table: Table | None, limit: int
) -> Iterator[Split]:
    """Yield the rows in order, some MB at a time, each as a line of JSON without newline; positions are row numbers.

    A row of more than `limit` bytes, or one that cannot be converted, becomes a refusal. `table` None reads all
    columns. Raises UnreadableRows if the file cannot be read any further, and any error of reading `stream`.
    """
    held, size = Split(), 0
    try:
        for split in _splits(stream, format, compression, table, limit):
            held.records += split.records
            held.positions += split.positions
            held.refusals += split.refusals
            held.fields = held.fields or split.fields
            size += sum(map(len, split.records))
            if size >= BLOCK_BYTES or len(held.records) + len(held.refusals) >= BLOCK_ROWS:
                yield held
                held, size = Split(), 0
    except UnreadableRows:
        if held.records or held.refusals:
            yield held
        raise
    if held.records or held.refusals:
        yield held


def _splits(
    stream: BinaryIO, format: TableFormat, compression: str, table: Table | None, limit: int
) -> Iterator[Split]:
    source, row = _Source(stream), 0
    with ExitStack() as stack:
        encoded = base64_fields(table.read_columns) if table else {}
        try:
            file: Any = stack.enter_context(_decompressed(source, format, compression)) if compression else source
            for batch, fields in format.batches(file, table):
                for piece, sizes in _pieces(batch):
                    split = _split(piece, sizes, row, limit, encoded)
                    split.fields = None if row else fields
                    yield split
                    row += piece.num_rows
        except DATA_ERRORS as error:
            if source.error is not None:
                raise source.error from None
            raise UnreadableRows(first_line(error) or type(error).__name__, row) from None


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


def _decompressed(source: _Source, format: TableFormat, compression: str) -> IO[bytes]:
    """Return the decompressed file as a temporary file. Raises Damaged if it is of another format or too large."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        size, head = 0, b""
        for piece in decompress(source, compression):  # type: ignore[arg-type]  # it has read and seek, which is enough
            head = (head + piece[: len(format.magic)])[: len(format.magic)]
            size += len(piece)
            if not format.magic.startswith(head):
                raise Damaged(f"the decompressed data is not {format.name}")
            if size > MAX_DECOMPRESSED_BYTES:
                raise Damaged(f"it decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes")
            file.write(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


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
    try:
        return ENCODER.encode(record)
    except UnicodeEncodeError:
        pass
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogateescape")
