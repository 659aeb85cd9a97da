"""The elements that pass between steps, and their coders where a runner moves them.

Beam pickles an element that has no coder. It does so not only to move it: it also encodes elements between two steps of
one process, to sample their size. The coders here estimate a size without a copy.
"""

from __future__ import annotations

import io
import pickle

import polars as pl
from apache_beam.coders import Coder
from apache_beam.coders.typecoders import registry

from contracts.decoding.decoder import Block

__all__ = [
    "BlockCoder",
    "BucketKey",
    "BucketPart",
    "FrameCoder",
    "KeyedPart",
    "TableBlock",
    "TableRows",
    "as_ipc",
    "from_ipc",
]

TableBlock = tuple[str, Block]
"""A table's name and raw records of it."""
BucketKey = tuple[str, int]
"""A table's name and the number of one of its buckets."""
BucketPart = tuple[str, bytes]
"""Rows of one bucket from one source (at least one, in any order): the source, and what a PartStore makes of the rows.

Bytes, not a data frame with a coder: a shuffled element must be encoded without a call into Python. FnApiRunner with
`--direct_running_mode` flushes a stream by a timer, and would split an element whose coder releases the interpreter.
"""
KeyedPart = tuple[BucketKey, BucketPart]
"""A part under the bucket that it belongs to."""
TableRows = tuple[str, int, pl.DataFrame]
"""A table's name, the number of a bucket, and the rows of the bucket that are written."""


def as_ipc(frame: pl.DataFrame) -> bytes:
    """Encode the frame as a compressed Arrow IPC stream: a shuffled byte is copied several times and kept in memory."""
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, compression="zstd")
    return stream.getvalue()


def from_ipc(stream: bytes) -> pl.DataFrame:
    """Decode the frame that `as_ipc` wrote."""
    return pl.read_ipc_stream(io.BytesIO(stream))


class BlockCoder(Coder):
    """A block of raw records, pickled."""

    def encode(self, block: Block) -> bytes:
        return pickle.dumps(block, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Block:
        block: Block = pickle.loads(encoded)
        return block

    def estimate_size(self, block: Block) -> int:
        return sum(map(len, block.records))


class FrameCoder(Coder):
    """A data frame as Arrow IPC."""

    def encode(self, frame: pl.DataFrame) -> bytes:
        return as_ipc(frame)

    def decode(self, encoded: bytes) -> pl.DataFrame:
        return from_ipc(encoded)

    def estimate_size(self, frame: pl.DataFrame) -> int:
        return int(frame.estimated_size())


registry.register_coder(Block, BlockCoder)
registry.register_coder(pl.DataFrame, FrameCoder)
