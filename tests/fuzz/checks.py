"""What must hold for every block, whatever its bytes are. A breach is a Finding."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Context, localcontext

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.sources.stored_letters import decode_again
from contracts.bisect import DATA_ERRORS
from contracts.decoding.decoder import HASH_LOW, RAW, Block, Decoded, Decoder
from contracts.refusal import ErrorCode, Refusal
from contracts.schemas import arrow_schema
from contracts.table import Table
from tests import runs
from tests.fuzz.cases import DERIVED, TODAY
from transforms.coders import as_ipc, from_ipc
from transforms.dead_letters import dead_letters

__all__ = ["Checker", "Counts", "Finding"]

NOW = datetime(2024, 6, 15, tzinfo=UTC)
RUN = replace(
    runs.RUN,
    pipeline="fuzz",
    started_at=NOW,
    location="EU",
    processed="processed",
    dead_letters="dead_letters",
    max_record_bytes=10**7,
    max_dead_letter_ratio=1.0,
)
SLOW_SECONDS = 1.0
"""Of processor time, for one record."""
AGAIN = 3
"""Dead letters of a block that are decoded again from their own rows."""


class Finding(Exception):
    """Something that must not be."""


@dataclass(slots=True)
class Counts:
    """What has been fed, and what became of it."""

    records: int = 0
    rows: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def add(self, other: Counts) -> None:
        """Add what another process has counted."""
        self.records += other.records
        self.rows += other.rows
        self.codes += other.codes
        self.slowest = max(self.slowest, other.slowest)


class _Judging(Decoder):
    """Reads no column at once: every record goes to the rules for single values."""

    def _read_columns(self, block: Block) -> tuple[list[Sequence[object]] | None, list[int]]:
        return None, []


class Checker:
    """Holds the blocks of one table against what must be."""

    def __init__(self, table: Table, limit: int, slow: float = SLOW_SECONDS) -> None:
        """`limit` is the most bytes of a record, `slow` the most seconds."""
        self.table = table
        self._slow = slow
        self.counts = Counts()
        self._limit = limit
        self._decoder = Decoder(table, lambda: TODAY, True)
        self._judging = _Judging(table, lambda: TODAY, True)
        self._schema = arrow_schema(table)

    def check(self, block: Block, chance: np.random.Generator) -> Decoded:
        """Decode a block in two ways, and hold all that comes of it against it."""
        decoded = self._timed(block)
        self._one_door_each(block, decoded)
        self._derived(decoded.rows)
        self._stored(decoded.rows)
        self._letters(block.source, decoded.refusals, chance)
        self._agree(decoded, self._judging.decode(block))
        if block.records and not chance.integers(0, 10):
            self._alone(block, decoded, int(chance.integers(0, len(block.records))))
        self.counts.records += block.count
        self.counts.rows += len(decoded.rows)
        self.counts.codes.update(each.code.value for each in decoded.refusals)
        return decoded

    def _timed(self, block: Block) -> Decoded:
        started = time.thread_time()
        decoded = self._decoder.decode(block)
        seconds = time.thread_time() - started
        if seconds <= self._slow:
            return decoded
        for number in range(len(block.records)):
            started = time.thread_time()
            self._decoder.decode(block.part(range(number, number + 1)))
            seconds = time.thread_time() - started
            self.counts.slowest = max(self.counts.slowest, seconds)
            _must(seconds <= self._slow, f"record {number} of {len(block.records[number])} bytes takes {seconds:.1f} s")
        return decoded

    def _one_door_each(self, block: Block, decoded: Decoded) -> None:
        given = np.sort([*block.positions.tolist(), *(each.position for each in block.refusals)])
        found = np.sort([*decoded.rows["_position"].to_list(), *(each.position for each in decoded.refusals)])
        _must(np.array_equal(given, found), "a record takes no door, or by two")
        raws = dict(zip(block.positions.tolist(), block.records, strict=True))
        for position, raw in decoded.rows.select("_position", RAW).iter_rows():
            _must(raw == raws[position], f"the bytes of the row at {position} differ")
        own = {id(each) for each in block.refusals}
        for each in decoded.refusals:
            _must(each.code is not ErrorCode.UNPROCESSABLE, f"{each.position}: {each.message}")
            if id(each) not in own:
                _must(
                    each.raw == raws[each.position][: len(each.raw)],
                    f"the bytes of the refusal at {each.position} differ",
                )
                _must(
                    each.truncated or len(each.raw) == len(raws[each.position]),
                    f"{each.position} is cut off in silence",
                )

    def _derived(self, rows: pl.DataFrame) -> None:
        expected = DERIVED.get(self.table.name)
        if not expected:
            return
        with localcontext(Context(prec=80)):
            for row in rows.iter_rows(named=True):
                for name, value in expected.items():
                    wanted = value(row)
                    _must(
                        row[name] == wanted, f"{name} is {row[name]!r} and should be {wanted!r} at {row['_position']}"
                    )

    def _stored(self, rows: pl.DataFrame) -> None:
        """As the ends store them: Arrow under the table's schema, which BigQuery's is made of."""
        stored = rows.with_columns(
            pl.lit("source").alias("_source"),
            pl.lit("run").alias("_run_id"),
            pl.lit(NOW, dtype=pl.Datetime("us", "UTC")).alias("_ingested_at"),
        )
        table = stored.select(self._schema.names).to_arrow().cast(self._schema)
        table.validate(full=True)
        _must(table.num_rows == len(rows), "rows are lost on the way to Arrow")
        _must(from_ipc(as_ipc(rows)).equals(rows), "rows differ behind a shuffle")
        _must(rows.get_column(HASH_LOW).null_count() == 0, "a row has no digest")

    def _letters(self, source: str, refusals: list[Refusal], chance: np.random.Generator) -> None:
        letters = dead_letters(self.table, source, refusals, RUN, NOW)
        letters.validate(full=True)
        _must(letters.num_rows == len(refusals), "dead letters are lost")
        pa.RecordBatch.from_struct_array(letters.to_struct_array().combine_chunks()).serialize() if refusals else None
        for at in chance.integers(0, len(refusals), AGAIN).tolist() if refusals else ():
            (letter,) = letters.slice(at, 1).to_pylist()
            if letter["truncated"]:
                continue
            again = decode_again(letter, self.table, self._limit, TODAY)
            _must(again is not None, f"the dead letter {letter['error_code']} is clean when it is decoded again")
            assert again is not None
            code = letter["error_code"]
            _must(again.code.value == code, f"a dead letter is {code}, and {again.code.value} when it is decoded again")
            json.loads(letter["attributes"])

    def _agree(self, decoded: Decoded, validated: Decoded) -> None:
        _must(decoded.rows.equals(validated.rows), "columns and single values are read differently")
        mine, other = ({each.position: _told(each) for each in found.refusals} for found in (decoded, validated))
        _must(mine == other, "columns and single values are refused differently")

    def _alone(self, block: Block, together: Decoded, number: int) -> None:
        one = self._decoder.decode(block.part(range(number, number + 1)))
        position = int(block.positions[number])
        rows = together.rows.filter(pl.col("_position") == position)
        _must(one.rows.equals(rows), f"the row at {position} is another one without its neighbours")
        told = [_told(each) for each in together.refusals if each.position == position and each not in block.refusals]
        _must(
            [_told(each) for each in one.refusals] == told,
            f"the refusal at {position} is another one without neighbours",
        )


def _told(refusal: Refusal) -> tuple[object, ...]:
    return refusal.code, refusal.field, refusal.message, refusal.raw


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise Finding(what)


def guarded(action: Callable[[], None]) -> str | None:
    """What is wrong, None if nothing is: a Finding's text, or the exception that nobody foresaw."""
    try:
        action()
    except Finding as finding:
        return str(finding)
    except DATA_ERRORS as error:
        import traceback

        return "".join(traceback.format_exception(error))[-3000:]
    return None
