"""Decode blocks of raw records into clean rows and refusals: a pure function of (bytes, Table).

    block of raw records --> fast path: read whole columns, accept the rows that are certainly clean (columns.py)
                         --> slow path: validate each remaining record by itself (validate.py)
                         --> derived columns, key digest --> one data frame of clean rows, in order of position

The outcome of a record depends on the record alone, never on its neighbours in the block.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl

from contracts.bisect import DATA_ERRORS, bisect
from contracts.classification import has_masked
from contracts.decoding.columns import all_hold, polars_type, read_column, rule_conditions, series_of
from contracts.decoding.csv_rows import CsvHeader, parse_rows
from contracts.decoding.derived_columns import DerivedColumns, first_line
from contracts.decoding.envelope import envelope_attributes
from contracts.decoding.json_columns import JsonColumns
from contracts.decoding.key_digest import key_digests, position_digests, record_digests
from contracts.decoding.path_values import path_texts
from contracts.decoding.records import Fields
from contracts.decoding.validate import RecordValidator
from contracts.lineage import HASH, POSITION
from contracts.refusal import MAX_STORED_BYTES, ErrorCode, NotClean, Refusal, storable
from contracts.table import Column, Identity, Kind, Table, UnknownFields

__all__ = ["ATTRIBUTES", "EXTRA", "HASH_LOW", "RAW", "Block", "Decoded", "Decoder", "Format"]

LOG = logging.getLogger(__name__)
HASH_LOW = "_hash_low"
"""The low 64 bits of the key digest. `_hash` and `_hash_low` together identify a key; only `_hash` is stored."""
EXTRA = "_extra"
RAW = "_raw"
ATTRIBUTES = "_attributes"
"""With `_raw`: everything else that is needed to decode the bytes again, as JSON."""


class Format(enum.Enum):
    """The format of the records of a block."""

    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Block:
    """Raw records of one source, in order. `positions` has shape (n,), int64: the position of each of `records`.

    `refusals` are the records that the reader refused: one that is too large, or the rest of a damaged file.
    `envelope` holds the Kafka key, timestamp and headers: one row for each of `records`, columns as in envelope.py.
    `fields` is set in the first block of a Parquet file: the names in its schema.
    """

    source: str
    format: Format
    records: Sequence[bytes]
    positions: npt.NDArray[np.int64]
    header: CsvHeader | None = None
    refusals: tuple[Refusal, ...] = ()
    envelope: pl.DataFrame | None = None
    fields: Fields | None = None
    origin: str = ""
    """Names the source and its generation: a file that was overwritten, or a topic that was recreated, has another."""

    @property
    def count(self) -> int:
        """The number of records in the block, including the refused ones."""
        return len(self.records) + len(self.refusals)

    def part(self, indices: Sequence[int]) -> Block:
        """Return a block of the records at these consecutive indices, without the refusals of the reader."""
        if len(indices) == len(self.records) and not self.refusals:
            return self
        piece = slice(indices[0], indices[-1] + 1) if indices else slice(0)
        return replace(
            self,
            records=self.records[piece],
            positions=self.positions[piece],
            refusals=(),
            envelope=None if self.envelope is None else self.envelope[piece],
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding a block: clean rows in order of position, and the refused records.

    `rows` has the columns of the table, `_extra` if the contract keeps unknown fields, `_position`, `_raw` and
    `_attributes` if the decoder keeps them, and `_hash` and `_hash_low` (int64).
    """

    rows: pl.DataFrame
    refusals: list[Refusal]


class Decoder:
    """Decodes blocks under the contract of one table.

    It holds compiled parsers, which cannot be pickled: create it on the worker. `today` is called once per block and
    bounds the partition column. With `keep_raw` each clean row has the bytes of its record in `_raw`, and in
    `_attributes` what a dead letter needs besides them. With `row_wise` the fast path is not used.
    """

    def __init__(
        self, table: Table, today: Callable[[], date], keep_raw: bool = False, *, row_wise: bool = False
    ) -> None:
        self.table = table
        self._today = today
        self._keep_raw = keep_raw
        self._row_wise = row_wise
        self._has_masked = has_masked(table)
        self._validator = RecordValidator(table)
        self._json = JsonColumns(table) if JsonColumns.can_read(table) else None
        self._has_path_columns = any(column.file_name or column.path_part for column in table.read_columns)
        self._derived = DerivedColumns(table) if table.derived_columns else None

    def decode(self, block: Block) -> Decoded:
        """Decode every record of `block`: each becomes one row or one refusal.

        No content of a record makes this raise. If a step raises, bisection finds the records that cause it. Those are
        refused as `unprocessable`; all others are decoded as if those were not in the block.
        """
        today = self._today()
        parts, failures = bisect(range(len(block.records)), lambda part: self._decode(block.part(part), today))
        refusals = [*block.refusals, *chain.from_iterable(part.refusals for part in parts)]
        if failures:
            refusals += self._unprocessable(block, failures)
        rows = [part.rows for part in parts] or [self._decode(block.part(range(0)), today).rows]
        return Decoded(rows[0] if len(rows) == 1 else pl.concat(rows), refusals)

    def _unprocessable(self, block: Block, failures: Sequence[tuple[int, BaseException]]) -> list[Refusal]:
        """Return the refusals of the records, by index, that made a step raise. Each is a defect, and is logged.

        The message of the error may quote a record: of a table with masked columns the log has its type alone.
        """
        refusals: list[Refusal] = []
        positions: dict[str, list[int]] = {}
        for index, error in failures:
            position, raw = int(block.positions[index]), block.records[index]
            message = storable(f"{type(error).__name__}: {first_line(error)}")
            attributes: dict[str, object] = {"format": block.format.value}
            with contextlib.suppress(*DATA_ERRORS):  # the attributes themselves may be what raises
                attributes = _attributes(block, index)
            refusals.append(
                Refusal(position, raw[:MAX_STORED_BYTES], ErrorCode.UNPROCESSABLE, message, None, len(raw), attributes)
            )
            positions.setdefault(type(error).__name__ if self._has_masked else message, []).append(position)
        for message, refused_at in positions.items():
            others = f" and {len(refused_at) - 1} more" if len(refused_at) > 1 else ""
            # %a escapes control characters, which an exception may quote from a record
            LOG.warning("%s, position %d%s: refused as unprocessable: %a", block.source, refused_at[0], others, message)
        return refusals

    def _decode(self, block: Block, today: date) -> Decoded:
        columns, unreadable = self._read_columns(block)
        texts = (
            path_texts(block.source, self.table.read_columns) if self._has_path_columns or "=" in block.source else {}
        )
        if columns is not None:
            for number, text in texts.items():
                columns[number] = self._from_path(number, columns[number], text)
        refusals: list[Refusal] = []
        if columns is None:
            frame, indices = self._empty(), np.arange(0, dtype=np.int64)
            remaining: Iterable[int] = range(len(block.records))
        else:
            frame, accepted = self._accept_clean(columns, today)
            accepted[unreadable] = False
            indices = np.flatnonzero(accepted).astype(np.int64)
            remaining = np.flatnonzero(~accepted).tolist()
            frame = frame.filter(pl.Series(accepted))
        validated: list[tuple[object, ...]] = []
        validated_indices: list[int] = []
        for index in remaining:
            try:
                validated.append(
                    self._validator.validate(block.records[index], block.format.value, block.header, today, texts)
                )
                validated_indices.append(index)
            except NotClean as reason:
                refusals.append(self._refusal(block, index, reason))
        if validated:
            frame = pl.concat([frame, self._validated_frame(validated)])
            indices = np.concatenate([indices, np.array(validated_indices, dtype=np.int64)])
        frame = frame.with_columns(pl.Series(POSITION, block.positions[indices], dtype=pl.Int64))
        if self._keep_raw:
            frame = frame.with_columns(
                pl.Series(RAW, [block.records[index] for index in indices.tolist()], dtype=pl.Binary),
                pl.lit(json.dumps(_attributes(block))).alias(ATTRIBUTES),
            )
            if block.envelope is not None:
                frame = frame.hstack(block.envelope[indices])
        if self._derived:
            frame, refused = self._derived.add(frame, indices, today)
            refusals += [self._refusal(block, index, reason) for index, reason in refused]
        if validated:
            frame = frame.sort(POSITION)
        return Decoded(self._with_digest(frame, block), refusals)

    def _from_path(self, number: int, values: Sequence[object], text: str | None) -> Sequence[object]:
        """Return the values of a read column, or the text of the path for those that are missing."""
        column = self.table.read_columns[number]
        if column.file_name or column.path_part is not None:
            return [text] * len(values)
        return [text if value is None else value for value in values]

    def _refusal(self, block: Block, index: int, reason: NotClean) -> Refusal:
        raw = block.records[index]
        return Refusal(
            int(block.positions[index]),
            raw[:MAX_STORED_BYTES],
            reason.code,
            reason.message,
            reason.field,
            size=len(raw),
            attributes=_attributes(block, index),
        )

    def _read_columns(self, block: Block) -> tuple[list[Sequence[object]] | None, list[int]]:
        """Return the values of each read column, or None if every record must be validated by itself.

        Also return the indices of the records that could not be read: their values are all null.
        """
        if self._row_wise:
            return None, []
        if block.format is Format.JSON:
            return self._json.read(block.records) if self._json and block.records else (None, [])
        return parse_rows(block.records, block.header, self.table) if block.header and block.records else (None, [])

    def _accept_clean(self, columns: list[Sequence[object]], today: date) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
        read = [read_column(column, values) for column, values in zip(self.table.read_columns, columns, strict=True)]
        frame = pl.DataFrame([series for series, _ in read])
        conditions: list[pl.Expr | pl.Series] = [accepted for _, accepted in read if accepted is not None]
        for column in self.table.read_columns:
            conditions += rule_conditions(column, today if column.name == self.table.partition else None)
        return frame, all_hold(frame, conditions).to_numpy(writable=True)

    def _record_columns(self) -> list[Column]:
        extra = [Column(EXTRA, Kind.STRING)] if self.table.unknown_fields is UnknownFields.KEEP else []
        return [*self.table.read_columns, *extra]

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={column.name: polars_type(column) for column in self._record_columns()})

    def _validated_frame(self, rows: list[tuple[object, ...]]) -> pl.DataFrame:
        return pl.DataFrame(
            [
                series_of(column, values)
                for column, values in zip(self._record_columns(), zip(*rows, strict=True), strict=True)
            ]
        )

    def _with_digest(self, frame: pl.DataFrame, block: Block) -> pl.DataFrame:
        match self.table.identity:
            case Identity.KEY:
                digests = key_digests(frame, self.table.primary_key)
            case Identity.POSITION:
                digests = position_digests(block.source, block.origin or block.source, frame[POSITION].to_numpy())
            case Identity.RECORD:
                digests = record_digests(frame, self._record_columns())
        return frame.with_columns(
            pl.Series(HASH, np.ascontiguousarray(digests[:, 0])),
            pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1])),
        )


def _attributes(block: Block, index: int | None = None) -> dict[str, object]:
    """Return what a dead letter stores besides the record: all that decoding it again and resending it needs."""
    from_kafka = {} if block.envelope is None or index is None else envelope_attributes(block.envelope.row(index))
    return {"format": block.format.value, **(block.header.attributes if block.header else {}), **from_kafka}
