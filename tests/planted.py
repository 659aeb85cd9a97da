"""Looks for a planted word in whatever it may have come through: encodings, compressions, pickles, archives."""

from __future__ import annotations

import base64
import binascii
import bz2
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

__all__ = ["found_in", "found_in_files"]

DEPTH = 4
"""Layers of base64 and compression that are taken off: a pickle of Beam's is base64 of bzip2, and may be in JSON."""
MAX_BYTES = 64 << 20
"""No layer is unpacked beyond it."""
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){16,}")
BZIP2, ZLIB = re.compile(rb"BZh[1-9]1AY&SY"), re.compile(rb"\x1f\x8b\x08|x[\x01\x5e\x9c\xda]")
SNAPPY = b"\x82SNAPPY\0"


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def found_in(data: bytes, word: str, depth: int = DEPTH) -> str | None:
    """How the word is in `data`, None if it is not. The word is letters and digits, which no text escapes."""
    assert word.isalnum()
    assert word.isascii()
    for name, form in _forms(word):
        if form in data:
            return name
    if depth == 0:
        return None
    for name, inner in _layers(data):
        if inner and (how := found_in(inner, word, depth - 1)):
            return f"{how} in {name}"
    return None


def found_in_files(folder: Path, word: str) -> dict[str, str]:
    """How the word is in which files below `folder`, their names included."""
    found = {}
    # os.walk passes over a folder that is removed meanwhile; rglob fails.
    for path in (Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)):
        if how := found_in(str(path).encode(), word):
            found[str(path)] = f"{how} in its name"
        try:
            data = path.read_bytes() if path.is_file() else b""
        except OSError:  # it is gone meanwhile
            continue
        # Jars are held to their sums: what is in them was there before.
        if how := found_in(data, word, 0 if path.suffix == ".jar" else DEPTH):
            found[str(path)] = how
    return found


def _forms(word: str) -> Iterator[tuple[str, bytes]]:
    plain = word.encode()
    yield "text", plain
    yield "UTF-16", word.encode("utf-16-le")
    yield "percent", "".join(f"%{byte:02X}" for byte in plain).encode()
    for shift in range(3):
        # What does not depend on the bytes before and behind it.
        coded = base64.b64encode(b"\0" * shift + plain)
        inner = coded[(0, 2, 3)[shift] : (shift + len(plain)) // 3 * 4]
        yield "base64", inner
        yield "base64", inner.translate(bytes.maketrans(b"+/", b"-_"))


def _layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What is within: the layer's name and its bytes."""
    for match in BASE64.finditer(data):
        run = match[0].translate(bytes.maketrans(b"-_", b"+/"))
        for start in range(4):  # a byte before it may look like one of it
            whole = run[start:]
            yield "base64", _base64(whole[: len(whole) // 4 * 4] if len(whole) % 4 == 1 else whole)
    for match in HEX.finditer(data):
        yield "hex", bytes.fromhex(match[0].decode())
    for match in BZIP2.finditer(data):
        yield "bzip2", _decompressed(bz2.BZ2Decompressor(), data[match.start() :])
    for match in ZLIB.finditer(data):
        yield "zlib", _decompressed(zlib.decompressobj(zlib.MAX_WBITS | 32), data[match.start() :])
    start = data.find(SNAPPY)
    while start >= 0:
        yield "snappy", b"".join(_snappy(data, start + 16))
        start = data.find(SNAPPY, start + 1)
    if data[:4] == b"PK\3\4":
        yield from _zipped(data)


def _base64(run: bytes) -> bytes:
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4))
    except binascii.Error:
        return b""


def _decompressed(decompressor: _Decompressor, data: bytes) -> bytes:
    """As far as it goes: what is behind the end, or broken, is left out."""
    out = b""
    try:
        for start in range(0, len(data), 1 << 14):
            out += decompressor.decompress(data[start : start + (1 << 14)], MAX_BYTES)
            if len(out) > MAX_BYTES:
                break
    except (OSError, EOFError, zlib.error):
        pass
    return out


def _snappy(data: bytes, at: int) -> Iterator[bytes]:
    """The chunks of a Java SnappyOutputStream, as Beam keeps serialized Java objects: length, then raw Snappy."""
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunk = data[at + 4 : at + 4 + length]
        size = shift = 0
        for byte in chunk:
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if not chunk or len(chunk) < length or size > MAX_BYTES:
            return
        try:
            yield pa.decompress(chunk, size, "snappy", asbytes=True)
        except (OSError, pa.ArrowInvalid):
            return
        at += 4 + length


def _zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield f"zip, {name}", archive.read(name)
    except zipfile.BadZipFile:
        return
