"""Decompress a stream piece by piece, within bounded memory, and notice where it is damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from backports import zstd

__all__ = ["Damaged", "decompress"]

COMPRESSED_PIECE = 1 << 20
PIECE = 1 << 20


class Damaged(Exception):
    """The compressed stream cannot be read any further."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """One gzip member, with the interface that bz2, lzma and zstd have: it keeps its unread input itself."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._error: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._error:
            raise self._error
        data = self._inflate.unconsumed_tail + data
        before = self._inflate.copy()
        try:
            return self._inflate.decompress(data, max_length)
        except zlib.error as error:  # which keeps back what this call had read before the damage
            self._error = error
        read = bytearray()
        try:
            for at in range(len(data)):
                read += before.decompress(data[at : at + 1])
        except zlib.error as error:
            if not read:
                raise error from None
        return bytes(read)


def decompress(stream: BinaryIO, compression: str) -> Iterator[bytes]:
    """Pieces of at most 1 MB of what `stream` holds under `compression` ('gz', 'zst' or '' for none).

    Several members or frames behind one another are one stream. Damaged where the data ends too early or is
    none; all that could be read comes first.
    """
    if not compression:
        while piece := stream.read(PIECE):
            yield piece
        return
    make = _Gzip if compression == "gz" else zstd.ZstdDecompressor
    member: _Decompressor | None = None
    data = b""
    while True:
        if not data:
            data = stream.read(COMPRESSED_PIECE)
        if not data:
            break
        if member is None:
            member = make()
        yield from _member(member, data)
        data = b""
        if member.eof:
            data, member = member.unused_data, None
            data = data if data.strip(b"\0") else b""  # tape padding, which gzip allows
    if member is not None:
        raise Damaged(f"the {compression} data ends too early")


def _member(member: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            piece = member.decompress(data, PIECE)
        except (zlib.error, zstd.ZstdError) as error:
            raise Damaged(str(error)) from None
        data = b""
        if piece:
            yield piece
        if member.eof or len(piece) < PIECE:
            return
