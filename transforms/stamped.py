"""Decode and validate in a stream: as decode.py, and each block is stamped, so that its parts can be acknowledged."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import apache_beam as beam
import msgspec
import numpy as np
from apache_beam.pvalue import TaggedOutput

from contracts.decode import Block, Decoder
from contracts.table import Table
from transforms.coders import as_ipc
from transforms.dead_letters import Refused
from transforms.decode import split_into_buckets
from transforms.offsets import Ack, Stamp, Tally, runs_of

__all__ = ["LETTERS", "DecodeStampedBlocks"]

LETTERS = -1
"""The part of a block that holds its refused records; the others are numbers of buckets."""
StampedPart = tuple[tuple[str, int], tuple[bytes, bytes]]


class DecodeStampedBlocks(beam.DoFn):
    """(table, block) -> ((table, bucket), (stamp, rows as Arrow IPC)); Refused on `refused`."""

    REFUSED = "refused"

    def __init__(self, tables: Mapping[str, Table], buckets: int) -> None:
        self._tables = dict(tables)
        self._buckets = buckets
        self._decoders: dict[str, Decoder] = {}

    def setup(self) -> None:
        self._decoders = {name: Decoder(table, _today, keep_raw=True) for name, table in self._tables.items()}

    def process(self, element: tuple[str, Block]) -> Iterator[StampedPart | TaggedOutput[str, Refused]]:
        name, block = element
        runs = _runs(block)
        decoded = self._decoders[name].decode(block)
        parts = list(split_into_buckets(decoded.rows, self._buckets))
        names = [bucket for bucket, _ in parts] + ([LETTERS] if decoded.refusals else [])
        stamp = Stamp(secrets.token_bytes(8), name, block.source, runs, tuple(names))
        packed = msgspec.msgpack.encode(stamp)
        for bucket, rows in parts:
            yield (name, bucket), (packed, as_ipc(rows))
        if decoded.refusals:
            ack = Ack(stamp, LETTERS, tuple(Tally() for _ in runs))
            refused = Refused(name, block.source, decoded.refusals, msgspec.msgpack.encode(ack))
            yield TaggedOutput(self.REFUSED, refused)


def _runs(block: Block) -> tuple[tuple[int, int], ...]:
    """The offsets of everything in the block, before any of it is decoded."""
    refused = np.array([refusal.position for refusal in block.refusals], dtype=np.int64)
    return runs_of(np.sort(np.concatenate([block.positions, refused])))


def _today() -> date:
    return datetime.now(UTC).date()
