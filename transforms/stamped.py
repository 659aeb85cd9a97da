"""Decode and validate the blocks of a stream. Each block is stamped, so that its parts can be acknowledged."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection, TaggedOutput

from contracts.changes import takes_updates
from contracts.decoding.decoder import Block, Decoded, Decoder
from contracts.decoding.tombstones import TombstoneDecoder
from contracts.table import Table
from transforms.changes import decode_changes
from transforms.coders import BucketKey, TableBlock, as_ipc
from transforms.dead_letters import Refused
from transforms.decode import split_into_buckets
from transforms.offsets import DEAD_LETTERS, Ack, Stamp, runs_of
from transforms.tally import Tally

__all__ = ["DecodeAndStamp", "KeyedStampedRows", "StampedRecords", "decode_and_stamp"]

KeyedStampedRows = tuple[BucketKey, tuple[bytes, bytes]]
"""A bucket, and the rows of one block for it: the packed Stamp of the block, and the rows as Arrow IPC.

Bytes, for the same reason as in a BucketPart.
"""
REFUSED = "refused"


class StampedRecords(NamedTuple):
    """What comes out of DecodeAndStamp."""

    rows: PCollection[KeyedStampedRows]
    """Clean rows by bucket."""
    refused: PCollection[Refused]
    """Refused records, with the Ack of their part."""


@dataclass(eq=False)
class DecodeAndStamp(beam.PTransform[PCollection[TableBlock], StampedRecords]):
    """Decode blocks of raw records into clean rows, split by bucket, and stamp each part with its block.

    Attributes:
        tables: The tables by name.
        buckets: The number of buckets of each table.
    """

    tables: Mapping[str, Table]
    buckets: int

    def expand(self, blocks: PCollection[TableBlock]) -> StampedRecords:
        decoded = blocks | "Decode blocks" >> beam.ParDo(_DecodeBlocks(self.tables, self.buckets)).with_output_types(
            KeyedStampedRows
        ).with_outputs(REFUSED, main="rows")
        return StampedRecords(decoded.rows, decoded[REFUSED])


class _DecodeBlocks(beam.DoFn):
    """TableBlock -> KeyedStampedRows; Refused on `refused`."""

    def __init__(self, tables: Mapping[str, Table], buckets: int) -> None:
        self._tables = dict(tables)
        self._buckets = buckets
        self._decoders: dict[str, Callable[[Block], Decoded]] = {}

    def setup(self) -> None:
        self._decoders = {name: _decoder(table) for name, table in self._tables.items()}

    def process(self, element: TableBlock) -> Iterator[KeyedStampedRows | TaggedOutput[str, Any]]:
        name, block = element
        rows, refused = decode_and_stamp(name, block, self._decoders[name], self._buckets)
        yield from rows
        if refused:
            yield TaggedOutput(REFUSED, refused)


def decode_and_stamp(
    table: str, block: Block, decode: Callable[[Block], Decoded], buckets: int
) -> tuple[list[KeyedStampedRows], Refused | None]:
    """Decode a block; return its clean rows by bucket and its refused records, None if there are none.

    All parts carry the same Stamp, which names every part.
    """
    runs = _runs(block)
    decoded = decode(block)
    by_bucket = list(split_into_buckets(decoded.rows, buckets))
    parts = [bucket for bucket, _ in by_bucket] + ([DEAD_LETTERS] if decoded.refusals else [])
    stamp = Stamp(secrets.token_bytes(8), table, block.source, runs, tuple(parts))
    packed = stamp.pack()
    rows = [((table, bucket), (packed, as_ipc(part))) for bucket, part in by_bucket]
    if not decoded.refusals:
        return rows, None
    ack = Ack(stamp, DEAD_LETTERS, tuple(Tally() for _ in runs))
    return rows, Refused(table, block.source, decoded.refusals, ack.pack())


def _decoder(table: Table) -> Callable[[Block], Decoded]:
    decoder = Decoder(table, _today, keep_raw=True)
    if not takes_updates(table):
        return decoder.decode
    return functools.partial(decode_changes, decoder=decoder, tombstones=TombstoneDecoder(table, _today))


def _runs(block: Block) -> tuple[tuple[int, int], ...]:
    """The runs of offsets of all records in the block, before any of them is decoded."""
    refused = np.array([refusal.position for refusal in block.refusals], dtype=np.int64)
    return runs_of(np.sort(np.concatenate([block.positions, refused])))


def _today() -> date:
    return datetime.now(UTC).date()
