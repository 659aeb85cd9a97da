"""The digest of what identifies a row: its primary key, the place where it was read, or all its values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from contracts.lineage import POSITION, SOURCE
from contracts.table import Column, Kind

__all__ = ["key_digests", "position_digests", "record_digests", "stored_position_digests"]


def key_digests(frame: pl.DataFrame, key: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the digest of each row's primary key, shape (n, 2): XXH3-128, big-endian, as two signed 64-bit integers.

    `key` names the columns of the key. The digest of a single column is that of its text in UTF-8. For several columns
    each text is preceded by its length, so ("ab", "c") and ("a", "bc") have different digests.
    """
    texts = [frame[name].cast(pl.String) for name in key]
    if len(texts) == 1:
        keys = texts[0].cast(pl.Binary).to_list()
    else:
        rows = zip(*(text.to_list() for text in texts), strict=True)
        keys = ["".join(f"{len(part)}:{part}" for part in row).encode() for row in rows]
    joined = b"".join(map(xxhash.xxh3_128_digest, keys))
    return np.frombuffer(joined, dtype=">i8").reshape(-1, 2).astype(np.int64)


def position_digests(source: str, origin: str, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return digests of the places of rows, shape (n, 2): of origin and position, and of source and position.

    `origin` names a source and its generation. Only the first number is stored, so the second does not depend on it:
    `stored_position_digests` computes it again.
    """
    prefixes = f"{origin}\n".encode(), f"{source}\n".encode()
    return np.array(
        [[_signed(prefix + b"%d" % at) for prefix in prefixes] for at in positions.tolist()], dtype=np.int64
    ).reshape(-1, 2)


def stored_position_digests(rows: pl.DataFrame, hashes: pl.Series) -> npt.NDArray[np.int64]:
    """Return the digests of stored rows, shape (n, 2), from their `_hash`, `_source` and `_position`."""
    low = [_signed(f"{source}\n{at}".encode()) for source, at in rows.select(SOURCE, POSITION).iter_rows()]
    return np.column_stack([hashes.to_numpy(), np.array(low, dtype=np.int64)]).reshape(-1, 2)


def record_digests(frame: pl.DataFrame, columns: Sequence[Column]) -> npt.NDArray[np.int64]:
    """Return digests of the values of `columns`, shape (n, 2). The second number is 0, because only one is stored."""
    texts = [_texts(frame[column.name], column).to_list() for column in columns]
    rows = zip(*texts, strict=True) if texts else [()] * len(frame)
    digests = [
        _signed("".join("-" if text is None else f"{len(text)}:{text}" for text in row).encode()) for row in rows
    ]
    return np.column_stack([np.array(digests, dtype=np.int64), np.zeros(len(digests), dtype=np.int64)]).reshape(-1, 2)


def _texts(values: pl.Series, column: Column) -> pl.Series:
    if column.repeated or column.kind is Kind.RECORD:
        return pl.Series([None if value is None else repr(value) for value in values.to_list()], dtype=pl.String)
    return values.bin.encode("hex") if column.kind is Kind.BYTES else values.cast(pl.String)


def _signed(value: bytes) -> int:
    return int.from_bytes(xxhash.xxh3_64_digest(value), "big", signed=True)
