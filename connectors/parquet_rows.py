"""Rows of a Parquet file as canonical JSON lines, so that one decoder judges them all.

Decimals are written as text, dates and timestamps in ISO 8601 (UTC, `Z`), bytes as UTF-8 text or, where they
are none, base64; NaN and the infinities as text, which a FLOAT column refuses with invalid_value.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.compression import Damaged, decompress

__all__ = ["NotParquet", "canonical_json", "parquet_rows"]

BATCH_ROWS = 16_384


class NotParquet(Exception):
    """The file is not Parquet, or is damaged from here on."""


def parquet_rows(stream: BinaryIO, compression: str) -> Iterator[list[bytes]]:
    """The rows in order, a batch at a time, each as one line of JSON without its newline. NotParquet where it ends."""
    try:
        source = io.BytesIO(b"".join(decompress(stream, compression))) if compression else stream
        batches = pq.ParquetFile(source).iter_batches(BATCH_ROWS)
        while (batch := next(batches, None)) is not None:
            yield [canonical_json(row) for row in _micros(batch).to_pylist()]
    except (pa.ArrowException, OSError, Damaged) as error:
        raise NotParquet(str(error).splitlines()[0]) from None


def canonical_json(row: dict[str, Any]) -> bytes:
    """One row as JSON, in the order of its columns."""
    return json.dumps(_plain(row), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _micros(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nanosecond columns in microseconds where no digit is lost, else as text with nine digits."""
    for index, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            values = batch.column(index)
            try:
                values = pc.cast(values, pa.timestamp("us", column.type.tz), safe=True)
            except pa.ArrowInvalid:
                values = pc.cast(values, pa.string())
            batch = batch.set_column(index, column.name, values)
    return batch


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=UTC)
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value.total_seconds())
        case bytes():
            return _text(value)
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return str(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
