"""The records of a file as the row-wise validator reads them today: what each should have become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.sources.files import FileRange, read_blocks
from contracts.arrow_rows import arrow_rows
from contracts.decoding.decoder import Block, Decoder
from contracts.lineage import POSITION
from contracts.refusal import ErrorCode
from contracts.schemas import arrow_schema
from contracts.table import Column, Table
from operations.reconcile.sample import Sample

__all__ = ["MAX_RECORD_BYTES", "Part", "Recomputed"]

MAX_RECORD_BYTES = 10_000_000
"""The limit of a batch that is given none."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a block of a file should have become, by position: values by column, or the code of the refusal."""

    end: int
    """The last position in the block."""
    rows: Mapping[int, Mapping[str, Any]]
    refused: Mapping[int, ErrorCode]


class Recomputed:
    """Reads the files of one table again, each record through the row-wise validator."""

    def __init__(self, storage: Storage, table: Table, columns: list[Column], sample: Sample) -> None:
        """`columns` are those whose values are compared."""
        self._storage, self._table, self._sample = storage, table, sample
        whole = arrow_schema(table)
        self._schema = pa.schema([whole.field(name) for name in [*(column.name for column in columns), POSITION]])

    def parts(self, file: InputFile, today: date) -> Iterator[Part]:
        """Yield what the blocks of a file should have become, in order. Raises FileChanged.

        `today` is the day of the run, for rules about dates.
        """
        decoder = Decoder(self._table, lambda: today, row_wise=True)
        for block in read_blocks(self._storage, FileRange(file), self._table, MAX_RECORD_BYTES):
            ends = [*block.positions[-1:].tolist(), *(each.position for each in block.refusals)]
            decoded = decoder.decode(self._chosen(block))
            rows = arrow_rows(decoded.rows, self._schema).to_pylist() if len(decoded.rows) else []
            yield Part(
                max(ends, default=-1),
                {row[POSITION]: row for row in rows},
                {each.position: each.code for each in decoded.refusals},
            )

    def _chosen(self, block: Block) -> Block:
        if self._sample.is_all:
            return block
        chosen = self._sample.chosen(block.positions)
        refused_at = np.array([each.position for each in block.refusals], dtype=np.int64)
        return replace(
            block,
            records=[block.records[index] for index in np.flatnonzero(chosen).tolist()],
            positions=block.positions[chosen],
            refusals=tuple(block.refusals[index] for index in np.flatnonzero(self._sample.chosen(refused_at)).tolist()),
        )
