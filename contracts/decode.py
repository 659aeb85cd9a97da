"""Records in, clean rows and refusals out: a pure function of (bytes, Table).

    block of raw records --> accept what is plainly clean, whole columns at once
                         --> judge what is left, record by record (judge.py)
                         --> derived columns, key digest --> one data frame of clean rows, in order of position

A record's fate depends on the record alone, never on its neighbours in the block.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash
from msgspec.structs import astuple

from contracts.columns import polars_type, read_column, rules, series_of
from contracts.csv_rows import CsvHeader, parse_rows, texts_of
from contracts.derived import WIDENED
from contracts.envelope import envelope_attributes
from contracts.judge import Judge
from contracts.refusal import ErrorCode, NotClean, Refusal
from contracts.table import Column, Kind, Table, UnknownFields
from contracts.values import MAX_DEPTH, parse_json, too_deep

__all__ = ["ATTRIBUTES", "EXTRA", "HASH", "HASH_LOW", "POSITION", "RAW", "Block", "Decoded", "Decoder", "Format"]

POSITION = "_position"
HASH = "_hash"
HASH_LOW = "_hash_low"
"""The other 64 bits of a primary key's digest; with `_hash` it tells keys apart. It is not stored."""
EXTRA = "_extra"
RAW = "_raw"
ATTRIBUTES = "_attributes"
"""Beside `_raw`: what else is needed to decode the bytes again, as JSON."""


class Format(enum.Enum):
    """How the records of a block are written."""

    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Block:
    """Raw records of one source, in order. `positions` has the shape (n,) and is int64, one for each of `records`.

    `refusals` are the records that the reader itself had to refuse: too large, or a whole file that is damaged.
    `envelope` is what Kafka keeps beside each of `records`: a row each with the columns of envelope.py.
    """

    source: str
    format: Format
    records: Sequence[bytes]
    positions: npt.NDArray[np.int64]
    header: CsvHeader | None = None
    refusals: tuple[Refusal, ...] = ()
    envelope: pl.DataFrame | None = None

    @property
    def count(self) -> int:
        """Records in the block, the refused ones included."""
        return len(self.records) + len(self.refusals)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a block: clean rows in order of position, and the refused records.

    `rows` has the table's columns, then `_extra` where the contract keeps unknown fields, `_raw` where asked
    for, `_position`, `_hash` and `_hash_low` (int64 each).
    """

    rows: pl.DataFrame
    refusals: list[Refusal]


class Decoder:
    """Decodes blocks under one table's contract. It holds compiled parsers, which do not pickle: make it in place.

    `today` is asked for the day once a block; it bounds the partition column. With `keep_raw` the clean rows
    carry their record's bytes in `_raw` and what a dead letter would need beside them in `_attributes`.
    """

    def __init__(self, table: Table, today: Callable[[], date], keep_raw: bool = False) -> None:
        self.table = table
        self._today = today
        self._keep_raw = keep_raw
        self._judge = Judge(table)
        self._json = _JsonColumns(table) if _JsonColumns.can_read(table) else None
        self._expressions = {column.name: pl.sql_expr(column.derived or "") for column in table.derived_columns}

    def decode(self, block: Block) -> Decoded:
        """Decode every record of `block`: each is one row of the result or one refusal."""
        today = self._today()
        columns = self._columns(block)
        refusals = list(block.refusals)
        if columns is None:
            frame, indices = self._empty(), np.arange(0, dtype=np.int64)
            left: Iterable[int] = range(len(block.records))
        else:
            frame, accepted = self._accept(columns, today)
            indices = np.flatnonzero(accepted).astype(np.int64)
            left = np.flatnonzero(~accepted).tolist()
            frame = frame.filter(pl.Series(accepted))
        judged: list[tuple[object, ...]] = []
        judged_indices: list[int] = []
        for index in left:
            try:
                judged.append(self._judge.row(block.records[index], block.format.value, block.header, today))
                judged_indices.append(index)
            except NotClean as reason:
                refusals.append(self._refusal(block, index, reason))
        if judged:
            frame = pl.concat([frame, self._frame_of(judged)])
            indices = np.concatenate([indices, np.array(judged_indices, dtype=np.int64)])
        frame = frame.with_columns(pl.Series(POSITION, block.positions[indices], dtype=pl.Int64))
        if self._keep_raw:
            frame = frame.with_columns(
                pl.Series(RAW, [block.records[index] for index in indices.tolist()], dtype=pl.Binary),
                pl.lit(json.dumps(_attributes(block))).alias(ATTRIBUTES),
            )
            if block.envelope is not None:
                frame = frame.hstack(block.envelope[indices])
        if self._expressions:
            frame, refused = self._derive(frame, indices, today)
            refusals += [self._refusal(block, index, reason) for index, reason in refused]
        if judged:
            frame = frame.sort(POSITION)
        return Decoded(self._with_digest(frame), refusals)

    def _refusal(self, block: Block, index: int, reason: NotClean) -> Refusal:
        return Refusal(
            int(block.positions[index]), block.records[index], reason.code, reason.message, reason.field,
            attributes=_attributes(block, index),
        )  # fmt: skip

    def _columns(self, block: Block) -> list[Sequence[object]] | None:
        """The values of each read column, or None where records must be judged one by one."""
        if block.format is Format.JSON:
            return self._json.read(block.records) if self._json and block.records else None
        return parse_rows(block.records, block.header, self.table) if block.header and block.records else None

    def _accept(self, columns: list[Sequence[object]], today: date) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
        read = [read_column(column, values) for column, values in zip(self.table.read_columns, columns, strict=True)]
        frame = pl.DataFrame([series for series, _ in read])
        conditions: list[pl.Expr | pl.Series] = [accepted for _, accepted in read if accepted is not None]
        for column in self.table.read_columns:
            conditions += self._rules(column, today)
        return frame, _all_hold(frame, conditions).to_numpy()

    def _rules(self, column: Column, today: date) -> tuple[pl.Expr, ...]:
        return rules(column, today if column.name == self.table.partition else None)

    def _judged_columns(self) -> list[Column]:
        extra = [Column(EXTRA, Kind.STRING)] if self.table.unknown_fields is UnknownFields.KEEP else []
        return [*self.table.read_columns, *extra]

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={column.name: polars_type(column) for column in self._judged_columns()})

    def _frame_of(self, rows: list[tuple[object, ...]]) -> pl.DataFrame:
        return pl.DataFrame([
            series_of(column, values)
            for column, values in zip(self._judged_columns(), zip(*rows, strict=True), strict=True)
        ])  # fmt: skip

    def _derive(
        self, frame: pl.DataFrame, indices: npt.NDArray[np.int64], today: date
    ) -> tuple[pl.DataFrame, list[tuple[int, NotClean]]]:
        """Add the derived columns; rows whose derived value cannot be, or breaks a rule, are refused."""
        try:
            derived = self._evaluate(frame)
        except pl.exceptions.PolarsError:  # one row overflows: find it
            return self._derive_one_by_one(frame, indices, today)
        conditions = [
            (column.name, condition)
            for column in self.table.derived_columns
            for condition in self._rules(column, today)
        ]
        kept = _all_hold(derived, [condition for _, condition in conditions])
        if kept.all():
            return derived, []
        refused: dict[int, NotClean] = {}
        for name, condition in conditions:
            for row in (~_all_hold(derived, [condition])).arg_true().to_list():
                message = f"{name}: {derived[name][row]} breaks the contract"
                refused.setdefault(int(indices[row]), NotClean(ErrorCode.INVALID_VALUE, message, name))
        return derived.filter(kept), list(refused.items())

    def _evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its derived columns, all in the contract's order. PolarsError where a value cannot be."""
        integers = [
            column.name for column in self.table.read_columns if column.kind is Kind.INTEGER and not column.repeated
        ]
        wide = frame.with_columns(pl.col(integers).cast(pl.Int128)) if integers else frame  # 64 bits would wrap
        computed = [
            (wide if column.kind in WIDENED else frame)
            .select(self._expressions[column.name].cast(polars_type(column), strict=True).alias(column.name))
            .to_series()
            for column in self.table.derived_columns
        ]
        names = [column.name for column in self.table.columns]
        return frame.with_columns(computed).select(*names, *(name for name in frame.columns if name not in names))

    def _derive_one_by_one(
        self, frame: pl.DataFrame, indices: npt.NDArray[np.int64], today: date
    ) -> tuple[pl.DataFrame, list[tuple[int, NotClean]]]:
        parts: list[pl.DataFrame] = []
        refused: list[tuple[int, NotClean]] = []
        for row in range(len(frame)):
            one = frame.slice(row, 1)
            try:
                self._evaluate(one)
            except pl.exceptions.PolarsError as error:
                names = ", ".join(self._expressions)
                message = f"{names}: no value ({str(error).splitlines()[0]})"
                field = next(iter(self._expressions)) if len(self._expressions) == 1 else None
                refused.append((int(indices[row]), NotClean(ErrorCode.INVALID_VALUE, message, field)))
            else:
                parts.append(one)
        rest = pl.concat(parts) if parts else frame.clear()
        bad = {index for index, _ in refused}
        kept = np.array([index for index in indices if index not in bad], dtype=np.int64)
        derived, more = self._derive(rest, kept, today)
        return derived, refused + more

    def _with_digest(self, frame: pl.DataFrame) -> pl.DataFrame:
        digests = key_digests(frame, self.table.primary_key)
        return frame.with_columns(
            pl.Series(HASH, np.ascontiguousarray(digests[:, 0])),
            pl.Series(HASH_LOW, np.ascontiguousarray(digests[:, 1])),
        )


def _all_hold(frame: pl.DataFrame, conditions: Sequence[pl.Expr | pl.Series]) -> pl.Series:
    """Whether each row of `frame` keeps every condition; null counts as kept."""
    holds = pl.all_horizontal(pl.lit(True), *conditions).fill_null(True)
    return frame.with_columns(holds.alias("")).get_column("")


def _attributes(block: Block, index: int | None = None) -> dict[str, object]:
    """What a dead letter keeps beside a record of this block, so that it can be decoded again and be sent again."""
    beside = {} if block.envelope is None or index is None else envelope_attributes(block.envelope.row(index))
    return {"format": block.format.value, **(block.header.attributes() if block.header else {}), **beside}


def key_digests(frame: pl.DataFrame, key: Sequence[str]) -> npt.NDArray[np.int64]:
    """Digests of the rows' primary keys, shape (n, 2): XXH3-128, big-endian, as two signed 64-bit integers.

    A key of one column is its text in UTF-8; one of several is each text with its length before it.
    """
    texts = [frame[name].cast(pl.String) for name in key]
    if len(texts) == 1:
        keys = texts[0].cast(pl.Binary).to_list()
    else:
        rows = zip(*(text.to_list() for text in texts), strict=True)
        keys = ["".join(f"{len(part)}:{part}" for part in row).encode() for row in rows]
    joined = b"".join(map(xxhash.xxh3_128_digest, keys))
    return np.frombuffer(joined, dtype=">i8").reshape(-1, 2).astype(np.int64)


class _JsonColumns:
    """JSON records to columns by msgspec: each line is parsed once, by the parser that judges it."""

    def __init__(self, table: Table) -> None:
        forbid = table.unknown_fields is UnknownFields.REJECT
        self._columns = table.read_columns
        record = _struct({column.path: column for column in self._columns}, forbid)
        self._decode = msgspec.json.Decoder(record).decode
        names = [_attribute({c.path: c for c in self._columns}, column.path) for column in self._columns]
        values = [attrgetter(name) for name in names]
        flat = all(len(column.path) == 1 for column in self._columns)
        self._values = astuple if flat else lambda row: tuple(value(row) for value in values)
        self._blank = self._values(record())

    @staticmethod
    def can_read(table: Table) -> bool:
        """Whether this reader knows all that the contract asks: unknown fields that are kept go to the judge."""
        paths = [column.path for column in table.read_columns]
        overlap = any(a != b and b[: len(a)] == a for a in paths for b in paths) or len(set(paths)) < len(paths)
        return table.unknown_fields is not UnknownFields.KEEP and not overlap

    def read(self, records: Sequence[bytes]) -> list[Sequence[object]]:
        """One list a column; a record that msgspec refuses is all null, so a required key leaves it to the judge."""
        values: list[Any] = []
        readable = _utf8(records)
        if max(map(len, readable)) > SHALLOW:
            readable = [b"" if len(record) > SHALLOW and _too_deep(record) else record for record in readable]
        remaining = iter(readable)
        while True:  # extend() keeps what came before a record that fails, and the iterator goes on behind it
            try:
                values.extend(chain.from_iterable(map(self._values, map(self._decode, remaining))))
                break
            except (msgspec.MsgspecError, RecursionError):
                values.extend(self._blank)
        width = len(self._columns)
        return [_plain(column, values[number::width]) for number, column in enumerate(self._columns)]


SHALLOW = 2 * MAX_DEPTH
"""JSON of so many bytes, opened and closed, is not nested too deeply."""


def _too_deep(record: bytes) -> bool:
    """As values.too_deep, without decoding a record that has not that many brackets."""
    if record.count(b"[") + record.count(b"{") <= MAX_DEPTH:
        return False
    return too_deep(record.decode("utf-8", "replace"))


def _utf8(records: Sequence[bytes]) -> Sequence[bytes]:
    """The records, those that are not UTF-8 emptied: msgspec does not look into fields that it skips."""
    joined = b"\n".join(records)
    if joined.isascii():
        return records
    try:
        joined.decode()
    except UnicodeDecodeError:
        return [text.encode() for text in texts_of(records, "utf-8")]
    return records


_FIELD_TYPES: dict[Kind, Any] = {
    Kind.STRING: str | int | None,
    Kind.BOOLEAN: bool | str | None,
    Kind.TIMESTAMP: str | None,
    Kind.DATE: str | None,
}


def _struct(columns: dict[tuple[str, ...], Column], forbid: bool, depth: int = 0) -> Any:
    """A msgspec struct whose fields are named f0, f1, … in order of first appearance, nested along the paths."""
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for number, step in enumerate(dict.fromkeys(path[depth] for path in columns)):
        below = {path: column for path, column in columns.items() if path[depth] == step}
        leaf = next((column for path, column in below.items() if len(path) == depth + 1), None)
        rename[f"f{number}"] = step
        if leaf is None:
            nested = _struct(below, forbid, depth + 1)
            fields.append((f"f{number}", nested, msgspec.field(default_factory=nested)))
        elif leaf.repeated or leaf.kind not in _FIELD_TYPES:
            fields.append((f"f{number}", msgspec.Raw, msgspec.Raw(b"null")))
        else:
            fields.append((f"f{number}", _FIELD_TYPES[leaf.kind], None))
    return msgspec.defstruct("Record", fields, rename=rename, forbid_unknown_fields=forbid, gc=False)


def _attribute(columns: dict[tuple[str, ...], Column], path: tuple[str, ...]) -> str:
    """The attribute of the struct that holds the value at `path`: `f2.f0`."""
    names = []
    for depth in range(len(path)):
        steps = list(dict.fromkeys(other[depth] for other in columns if other[:depth] == path[:depth]))
        names.append(f"f{steps.index(path[depth])}")
    return ".".join(names)


def _plain(column: Column, values: list[Any]) -> list[Any]:
    """Raw JSON values as read_column takes them: the text of a number, parsed JSON for what is nested."""
    if not column.repeated and column.kind in _FIELD_TYPES:
        return values
    nested = column.repeated or column.kind is Kind.RECORD
    plain: list[Any] = []
    for raw in values:
        text = bytes(raw).decode()
        if text == "null":
            plain.append(None)
        elif nested:
            plain.append(_parsed(text))
        else:
            plain.append(text[1:-1] if text[0] == '"' else text)
    return plain


def _parsed(text: str) -> object:
    try:
        return parse_json(text)
    except NotClean:
        return False  # which is neither array nor object: the judge will say what is wrong
