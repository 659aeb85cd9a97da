"""Decompress a stream in pieces, with bounded memory and a limit on its size, and detect damage."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["MAGIC_BYTES", "Damaged", "decompress", "detected"]

COMPRESSED_PIECE = 1 << 16
"""The data after the end of a member is copied: larger pieces would cost quadratic time for many tiny members."""
PIECE = 1 << 20
MAGIC = {"gz": b"\x1f\x8b\x08", "zst": b"\x28\xb5\x2f\xfd"}
MAGIC_BYTES = max(map(len, MAGIC.values()))
MOST_LAYERS = 2


class Damaged(Exception):
    """The compressed stream cannot be read to its end."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """One gzip member, with the interface of bz2, lzma and zstd: it keeps its unread input."""

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


def detected(head: bytes) -> str:
    """Return the compression by the first four bytes of a file: 'gz', 'zst', or '' for none.

    No CSV, JSON or Parquet file begins with the same bytes.
    """
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), "")


def decompress(stream: BinaryIO, compression: str, max_bytes: int | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of `stream` in pieces of at most 1 MB.

    `stream` is seekable and at its beginning; `compression` is 'gz', 'zst' or '' for none. Compressed data in it is
    decompressed as well: a file may be compressed when it is created, and again for its transport. Concatenated
    members or frames are one stream.

    Raises Damaged, after all that can be read, if the data is truncated or invalid, is compressed more than twice, or
    decompresses to more than `max_bytes`.
    """
    layers = [compression] if compression else []
    source: _Source = stream
    while True:
        pieces = _layer(source, layers[-1] if layers else "", max_bytes)
        head = b""
        try:
            while len(head) < MAGIC_BYTES and (piece := next(pieces, b"")):
                head += piece
        except Damaged:
            if head:
                yield head
            raise
        inner = detected(head)
        if not inner:
            if head:
                yield head
            yield from pieces
            return
        if len(layers) == MOST_LAYERS:
            raise Damaged(f"it is compressed more than {MOST_LAYERS} times")
        if layers:
            source = _Decompressed(source, layers[-1], max_bytes)
        else:
            source.seek(0)
        layers.append(inner)


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> object: ...


class _Decompressed:
    """The decompressed data of one layer, as the source of the next."""

    def __init__(self, source: _Source, compression: str, max_bytes: int | None) -> None:
        self._layer = source, compression, max_bytes
        self.seek(0)

    def seek(self, offset: int) -> None:
        """Go to an offset: decompress again from the beginning."""
        source, compression, max_bytes = self._layer
        source.seek(0)
        self._pieces, self._rest = _layer(source, compression, max_bytes), b""
        while offset > 0 and (skipped := len(self.read(min(offset, COMPRESSED_PIECE)))):
            offset -= skipped

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        while not self._rest:
            piece = next(self._pieces, b"")
            if not piece:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _layer(stream: _Source, compression: str, max_bytes: int | None) -> Iterator[bytes]:
    """Yield the pieces of one layer; small ones are joined, since each becomes a block. A plain stream has no limit."""
    if not compression:
        while piece := stream.read(PIECE):
            yield piece
        return
    decompressed = size = 0
    held: list[bytes] = []
    damage: Damaged | None = None
    try:
        for piece in _decompressed(stream, compression):
            decompressed += len(piece)
            if max_bytes is not None and decompressed > max_bytes:
                raise Damaged(f"it decompresses to more than {max_bytes:,} bytes, the limit of --max_expansion")
            if held and size + len(piece) > PIECE:
                yield b"".join(held)
                held, size = [], 0
            held.append(piece)
            size += len(piece)
    except Damaged as error:
        damage = error
    if held:
        yield b"".join(held)
    if damage:
        raise damage


def _decompressed(stream: _Source, compression: str) -> Iterator[bytes]:
    make: Callable[[], _Decompressor] = _Gzip if compression == "gz" else zstd.ZstdDecompressor
    member: _Decompressor | None = None
    padded = False
    """Whether a member has ended: zeros that fill the last block of a tape may follow."""
    data = b""
    end = start = given = 0
    """The end of `data` in the file; the start of the member in the file; how many of its bytes were yielded."""
    while True:
        if not data:
            data = stream.read(COMPRESSED_PIECE)
            end += len(data)
        if not data:
            break
        if member is None and padded and not (data := data.lstrip(b"\0")):
            continue
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
            data, member, padded = member.unused_data, None, True
    if member is not None:
        raise Damaged(f"the {compression} data is truncated")


def _pieces(member: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        piece = member.decompress(data, PIECE)
        data = b""
        if piece:
            yield piece
        if member.eof or len(piece) < PIECE:
            return


def _up_to_the_damage(stream: _Source, member: _Decompressor, start: int, damaged: int, given: int) -> Iterator[bytes]:
    """Yield the data before the damage that the failed call has read but not returned.

    Reads the member again, from the piece at `damaged` on byte by byte. `given` of its bytes were yielded before.
    """
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
