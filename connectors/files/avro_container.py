"""Avro's object container files: the header and the decompressed blocks.

The format is that of the Avro specification 1.12. A length is checked before as many bytes are read or made.
"""

from __future__ import annotations

import bz2
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["MAGIC", "MAX_BLOCK_BYTES", "AvroBlock", "AvroHeader", "avro_blocks", "avro_header", "container", "number"]

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
MAX_HEADER_BYTES = 64 << 20
MAX_BLOCK_BYTES = 256 << 20
"""The most decompressed bytes of one block. Writers make blocks of 16 kB to some MB."""
MAX_SHIFT = 63
CRC_BYTES = 4


class AvroHeader(NamedTuple):
    """The schema of the writer, parsed from JSON; the name of the codec; the marker behind each block."""

    schema: Any
    codec: str
    sync: bytes


class AvroBlock(NamedTuple):
    """The number of records in a block, and their bytes."""

    records: int
    data: bytes


class Readable(Protocol):
    """What a container is read from."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def avro_header(source: Readable) -> AvroHeader:
    """Read the header of a container. Raises ValueError if it is none, or has a codec that is not read."""
    if source.read(len(MAGIC)) != MAGIC:
        raise ValueError("it is not Avro")
    entries: dict[bytes, bytes] = {}
    left = MAX_HEADER_BYTES
    while count := _read_number(source):
        if count < 0:
            _read_number(source)
        for _ in range(abs(count)):
            key, value = _read_bytes(source, left), _read_bytes(source, left)
            left -= len(key) + len(value) + 2
            entries[key] = value
    codec = entries.get(b"avro.codec", b"null").decode("ascii", "replace")
    if codec not in CODECS:
        raise ValueError(f"its codec is {codec!r}; {', '.join(CODECS)} are read")
    return AvroHeader(json.loads(entries.get(b"avro.schema", b"")), codec, _read_exactly(source, SYNC_BYTES))


def avro_blocks(source: Readable, header: AvroHeader) -> Iterator[AvroBlock]:
    """Yield the blocks behind a header. Raises ValueError, or an error of the codec, if one is damaged or cut off."""
    while (first := source.read(1)) and (count := _read_number(source, first)) is not None:
        size = _read_number(source)
        if count < 0 or size < 0:
            raise ValueError("the size of a block is negative")
        data = CODECS[header.codec](_read_exactly(source, size))
        if count > len(data):  # then its records have no bytes, and a few bytes could claim any number of them
            raise ValueError(f"a block of {len(data)} bytes has {count} records")
        if _read_exactly(source, SYNC_BYTES) != header.sync:
            raise ValueError("the marker behind a block is wrong")
        yield AvroBlock(count, data)


def container(schema: Any, blocks: list[AvroBlock]) -> bytes:
    """Return an uncompressed container of one block that holds the records of all these blocks."""
    size, count = sum(len(block.data) for block in blocks), sum(block.records for block in blocks)
    text, marker = json.dumps(schema).encode(), bytes(SYNC_BYTES)
    head = [MAGIC, number(1), number(len(b"avro.schema")), b"avro.schema", number(len(text)), text, number(0), marker]
    return b"".join([*head, number(count), number(size), *(block.data for block in blocks), marker])


def number(value: int) -> bytes:
    """Return an integer of at most 64 bits as Avro writes it."""
    value = (value << 1) ^ (value >> MAX_SHIFT)
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def _read_number(source: Readable, first: bytes = b"") -> int:
    value = shift = 0
    byte = (first or _read_exactly(source, 1))[0]
    while byte > 127:
        value |= (byte & 127) << shift
        shift += 7
        if shift > MAX_SHIFT:
            raise ValueError("a number has more than 64 bits")
        byte = _read_exactly(source, 1)[0]
    value |= byte << shift
    return value >> 1 ^ -(value & 1)


def _read_bytes(source: Readable, most: int) -> bytes:
    size = _read_number(source)
    if not 0 <= size <= most:
        raise ValueError(f"its header has more than {MAX_HEADER_BYTES} bytes")
    return _read_exactly(source, size)


def _read_exactly(source: Readable, size: int) -> bytes:
    data = source.read(size) if size else b""
    if len(data) < size:
        raise ValueError("it is cut off")
    return data


def _null(data: bytes) -> bytes:
    return _checked(data, len(data) <= MAX_BLOCK_BYTES)


def _checked(data: bytes, is_small: bool) -> bytes:
    if not is_small:
        raise ValueError(f"a block has more than {MAX_BLOCK_BYTES} bytes")
    return data


def _with(make: Callable[[], _Decompressor]) -> Callable[[bytes], bytes]:
    """Return a codec that decompresses at most MAX_BLOCK_BYTES."""

    def decompressed(data: bytes) -> bytes:
        decompressor = make()
        plain = _checked(decompressor.decompress(data, MAX_BLOCK_BYTES + 1), is_small=True)
        _checked(plain, len(plain) <= MAX_BLOCK_BYTES)
        if not decompressor.eof:
            raise ValueError("a compressed block is cut off")
        return plain

    return decompressed


def _snappy(data: bytes) -> bytes:
    """Decompress a block of Snappy: its size stands at its beginning, a CRC32 of the plain data at its end."""
    packed, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    size = shift = 0
    for byte in packed[:5]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    _checked(b"", size <= MAX_BLOCK_BYTES)
    plain: bytes = pa.Codec("snappy").decompress(packed, size, asbytes=True)
    if zlib.crc32(plain).to_bytes(CRC_BYTES, "big") != crc:
        raise ValueError("the CRC32 of a block is wrong")
    return plain


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": _null,
    "deflate": _with(lambda: zlib.decompressobj(-zlib.MAX_WBITS)),
    "snappy": _snappy,
    "zstandard": _with(zstd.ZstdDecompressor),
    "bzip2": _with(bz2.BZ2Decompressor),
    "xz": _with(lzma.LZMADecompressor),
}
