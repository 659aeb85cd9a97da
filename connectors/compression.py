"""Decompress a stream piece by piece, within bounded memory, and notice where it is damaged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
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

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def decompress(stream: BinaryIO, compression: str) -> Iterator[bytes]:
    """Pieces of at most 1 MB of what `stream` holds under `compression` ('gz', 'zst' or '' for none).

    `stream` is seekable and at its beginning. Several members or frames behind one another are one stream. Damaged
    where the data ends too early or is none; all that could be read comes first.
    """
    if not compression:
        while piece := stream.read(PIECE):
            yield piece
        return
    make: Callable[[], _Decompressor] = _Gzip if compression == "gz" else zstd.ZstdDecompressor
    member: _Decompressor | None = None
    data = b""
    end = start = given = 0
    """Of `data` the end in the file; of the member the start in the file, and how much of it is given out."""
    while True:
        if not data:
            data = stream.read(COMPRESSED_PIECE)
            end += len(data)
        if not data:
            break
        if member is None:
            member, start, given = make(), end - len(data), 0
        try:
            for piece in _pieces(member, data):
                given += len(piece)
                yield piece
        except (zlib.error, zstd.ZstdError) as error:
            yield from _up_to_the_damage(stream, make(), start, end - len(data), given)
            raise Damaged(str(error)) from None
        data = b""
        if member.eof:
            data, member = member.unused_data, None
            data = data if data.strip(b"\0") else b""  # tape padding, which gzip allows
    if member is not None:
        raise Damaged(f"the {compression} data ends too early")


def _pieces(member: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        piece = member.decompress(data, PIECE)
        data = b""
        if piece:
            yield piece
        if member.eof or len(piece) < PIECE:
            return


def _up_to_the_damage(stream: BinaryIO, member: _Decompressor, start: int, damaged: int, given: int) -> Iterator[bytes]:
    """What a call that failed had read before the damage, and kept back: the member is read again, from the piece at
    `damaged` on byte by byte. `given` bytes of it are out already."""
    stream.seek(start)
    while start < damaged:
        data = stream.read(min(COMPRESSED_PIECE, damaged - start))
        start += len(data)
        given -= sum(map(len, _pieces(member, data)))
    read = bytearray()
    try:
        for byte in stream.read(COMPRESSED_PIECE):
            read += member.decompress(bytes([byte]), PIECE)
            if len(read) - given >= PIECE:
                yield bytes(read[given:])
                read.clear()
                given = 0
    except (zlib.error, zstd.ZstdError):
        pass
    if len(read) > given:
        yield bytes(read[given:])
