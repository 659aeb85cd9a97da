"""How blocks and data frames go from one step to the next, where a runner has to move them.

Without a coder of their own Beam pickles them, and not only to move them: it samples the size of what passes between
two steps of one process by encoding it. Here a size is an estimate that copies nothing.
"""

from __future__ import annotations

import io
import pickle

import polars as pl
from apache_beam.coders import Coder
from apache_beam.coders.typecoders import registry

from contracts.decode import Block

__all__ = ["BlockCoder", "BucketPart", "FrameCoder", "TableBlock", "TableRows", "as_ipc", "from_ipc"]

TableBlock = tuple[str, Block]
"""A table's name, and raw records of it."""
BucketPart = tuple[str, bytes]
"""Rows of one bucket from one source: the source, and the rows, at least one, in no order, as Arrow IPC.

Bytes, and no frame with a coder: what is shuffled must be encoded without a call into Python. FnApiRunner with
`--direct_running_mode` flushes a stream by a timer, and would cut an element whose coder lets go of the interpreter.
"""
TableRows = tuple[str, int, pl.DataFrame]
"""A table's name, a bucket, and its rows that are written."""


def as_ipc(frame: pl.DataFrame) -> bytes:
    """The frame as an Arrow IPC stream. Compressed: a shuffled byte is copied several times and kept in memory."""
    sink = io.BytesIO()
    frame.write_ipc_stream(sink, compression="zstd")
    return sink.getvalue()


def from_ipc(stream: bytes) -> pl.DataFrame:
    """The frame that `as_ipc` wrote."""
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
