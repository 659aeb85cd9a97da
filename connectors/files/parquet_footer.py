"""The encodings and sizes of the columns of a Parquet file, from its footer.

pyarrow returns them too, but its `RowGroupMetaData.column` ends the process if the footer is inconsistent: nothing
catches the C++ exception. So this module reads the few numbers itself, from Thrift's compact protocol.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

__all__ = ["DELTA", "DELTA_TEXT", "Chunk", "column_chunks"]

DELTA_TEXT = 7
"""DELTA_BYTE_ARRAY: a text is stored as its difference from the previous one."""
DELTA = frozenset({5, 6, DELTA_TEXT})
"""Encodings that store differences, by their numbers in Parquet's format."""
TAIL_BYTES = 8
ROW_GROUPS, COLUMNS, META_DATA, ENCODINGS, UNCOMPRESSED_SIZE = 4, 1, 3, 2, 6
"""Numbers of the fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData."""
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
MAX_BITS = 63
LONG = 15
"""In the first byte of a list: its size follows. (In that of a field, 0 means that its number follows.)"""


class Chunk(NamedTuple):
    """One column of one row group: the numbers of its encodings, and its size in bytes before compression."""

    encodings: frozenset[int]
    bytes: int


class _Seekable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int, /) -> int: ...


def column_chunks(file: _Seekable) -> list[list[Chunk]]:
    """Return a list for each row group, with a Chunk for each leaf of the schema. Raises ValueError if damaged."""
    file.seek(-TAIL_BYTES, os.SEEK_END)
    size = int.from_bytes(file.read(TAIL_BYTES)[:4], "little")
    file.seek(-TAIL_BYTES - size, os.SEEK_END)
    data = file.read(size)
    try:
        groups = _Thrift(data).struct().get(ROW_GROUPS, ())
        return [[_chunk(column[META_DATA]) for column in group[COLUMNS]] for group in groups]
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError("its footer is damaged") from error


def _chunk(column: dict[int, Any]) -> Chunk:
    return Chunk(frozenset(column[ENCODINGS]), column[UNCOMPRESSED_SIZE])


class _Thrift:
    """Reads values of Thrift's compact protocol. A struct becomes a dictionary by the numbers of its fields."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._readers: dict[int, Callable[[], Any]] = {
            TRUE: self._byte,
            FALSE: self._byte,
            BYTE: self._byte,
            I16: self._integer,
            I32: self._integer,
            I64: self._integer,
            DOUBLE: lambda: self._bytes(8),
            BINARY: lambda: self._bytes(self._unsigned()),
            LIST: self._list,
            SET: self._list,
            MAP: self._map,
            STRUCT: self.struct,
        }

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._integer()
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._readers[kind]()
        return fields

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise IndexError
        return self._data[self._at - size : self._at]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
            if shift > MAX_BITS:
                raise IndexError
        return value | byte << shift

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)

    def _list(self) -> list[Any]:
        head = self._byte()
        size = self._unsigned() if head >> 4 == LONG else head >> 4
        if not size:
            return []
        read = self._readers[head & 15]
        return [read() for _ in range(size)]

    def _map(self) -> list[Any]:
        size = self._unsigned()
        if not size:
            return []
        kinds = self._byte()
        key, value = self._readers[kinds >> 4], self._readers[kinds & 15]
        return [(key(), value()) for _ in range(size)]
