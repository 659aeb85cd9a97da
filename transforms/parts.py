"""Where the parts of buckets are between decoding and deduplicating: in the elements themselves, or in files.

A runner with a shuffle service of its own carries the rows. Where all steps run on one machine the rows stay in files,
and what is shuffled is a reference of some 40 bytes: the launcher's memory does not grow with the input.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import polars as pl

from transforms.coders import as_ipc, from_ipc

__all__ = ["IN_ELEMENTS", "PartStore", "PartsInElements", "PartsInFiles"]


class PartStore(Protocol):
    """Keeps the rows of parts while they are shuffled. It pickles, and any thread may call it."""

    def write(self, parts: Sequence[pl.DataFrame]) -> list[bytes]:
        """Keep the rows of parts; return what is shuffled for each."""
        ...

    def read(self, part: bytes) -> pl.DataFrame:
        """Return the rows of a part, in any process of the run."""
        ...


@dataclass(frozen=True)
class PartsInElements:
    """The rows themselves are shuffled, as compressed Arrow IPC."""

    def write(self, parts: Sequence[pl.DataFrame]) -> list[bytes]:
        return [as_ipc(part) for part in parts]

    def read(self, part: bytes) -> pl.DataFrame:
        return from_ipc(part)


IN_ELEMENTS = PartsInElements()


class _Reference(msgspec.Struct, array_like=True):
    """A part is `size` bytes of a file, from `start`."""

    file: str
    start: int
    size: int


@dataclass(frozen=True)
class PartsInFiles:
    """The rows are in files of a local folder, as Arrow IPC with lz4. Each call of `write` makes one file.

    The folder exists, and outlives the run's steps.
    """

    folder: str

    def write(self, parts: Sequence[pl.DataFrame]) -> list[bytes]:
        path, references, start = Path(self.folder, f"{secrets.token_hex(8)}.arrow"), [], 0
        try:
            with path.open("xb") as file:
                for part in parts:
                    stream = io.BytesIO()
                    part.write_ipc_stream(stream, compression="lz4")
                    size = file.write(stream.getbuffer())
                    references.append(msgspec.msgpack.encode(_Reference(path.name, start, size)))
                    start += size
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk names no file
        return references

    def read(self, part: bytes) -> pl.DataFrame:
        reference = msgspec.msgpack.decode(part, type=_Reference)
        with Path(self.folder, reference.file).open("rb", buffering=0) as file:
            return from_ipc(os.pread(file.fileno(), reference.size, reference.start))
