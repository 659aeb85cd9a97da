"""The outcome of a part of a block: tallies for its Ack, and refusals for the rows that are not written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.sinks.bucket_writer import Appended
from contracts.decoding.decoder import ATTRIBUTES, RAW
from contracts.decoding.envelope import ENVELOPE, TIMESTAMP, envelope_attributes
from contracts.lineage import POSITION
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Table
from transforms.deduplicate import Comparison, Outcome
from transforms.latency import count_latencies
from transforms.offsets import Ack, Stamp, run_of
from transforms.tally import Tally

__all__ = ["latencies", "refusal_of", "split_by_day", "tallies_of", "with_dead_letters"]

STREAMED_DAYS = 3650
"""How many days back a stream may write: the Storage Write API refuses older days of a column. A load takes them."""


def tallies_of(stamp: Stamp, rows: pl.DataFrame, appended: Appended) -> tuple[Tally, ...]:
    """Count the rows of a part by door, one Tally for each run of its block.

    A row that BigQuery refused is counted later, as a dead letter.
    """
    runs = run_of(rows[POSITION].to_numpy(), stamp.runs)
    outcomes, compared = appended.outcomes.to_numpy(), appended.compared.to_numpy()
    new = outcomes == Outcome.FIRST
    new[list(appended.refused)] = False
    doors = {
        "written": new | (outcomes == Outcome.REDELIVERED),
        "duplicate": outcomes == Outcome.DUPLICATE,
        "duplicate_differs": compared == Comparison.DIFFERS,
        "duplicate_unknown": compared == Comparison.UNKNOWN,
    }
    counts = {door: np.bincount(runs[rows], minlength=len(stamp.runs)).tolist() for door, rows in doors.items()}
    tallies = [Tally(**{door: count[run] for door, count in counts.items()}) for run in range(len(stamp.runs))]
    if new.any():
        tallies[0].latency = latencies(rows[TIMESTAMP].to_numpy()[new], appended.written_at)
    return tuple(tallies)


def latencies(timestamps: npt.NDArray[np.int64], written_at: datetime) -> dict[int, int]:
    """Count records by class of latency; `timestamps` are in milliseconds since 1970, shape (n,).

    Producers may set any timestamp: 0 or less is not counted, and a timestamp in the future counts as no latency.
    """
    at = int(written_at.timestamp() * 1000)
    return count_latencies(at - np.minimum(timestamps[timestamps > 0], at))


def with_dead_letters(ack: Ack, refusals: Sequence[Refusal]) -> tuple[Tally, ...]:
    """Add the dead letters to the tallies of an Ack, and return them; kept duplicates are counted already."""
    counted = [refusal for refusal in refusals if refusal.code is not ErrorCode.DUPLICATE]
    runs = run_of(np.array([refusal.position for refusal in counted], dtype=np.int64), ack.stamp.runs)
    codes: list[Counter[str]] = [Counter() for _ in ack.stamp.runs]
    for run, refusal in zip(runs.tolist(), counted, strict=True):
        codes[run][refusal.code.value] += 1
    for tally, by_code in zip(ack.tallies, codes, strict=True):
        tally.add(Tally(dead_letter_by_code=dict(by_code)))
    return ack.tallies


def refusal_of(rows: pl.DataFrame, row: int, code: ErrorCode, message: str) -> Refusal:
    """Return the refusal of the record that a row came from."""
    values = rows.row(row, named=True)
    attributes = {**json.loads(values[ATTRIBUTES]), **envelope_attributes(tuple(values[name] for name in ENVELOPE))}
    return Refusal(values[POSITION], values[RAW], code, message, attributes=attributes)


def split_by_day(table: Table, rows: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, list[Refusal]]:
    """Return the rows that the Storage Write API takes, and refusals of those whose partition is too old for it."""
    if table.partition is None:
        return rows, []
    # A day of margin for the clock of this machine.
    oldest = now.date() - timedelta(days=STREAMED_DAYS - 1)
    too_old = (rows[table.partition].cast(pl.Date) < oldest).fill_null(value=False)
    if not too_old.any():
        return rows, []
    message = (
        f"a stream writes no day before {oldest}, because BigQuery takes only the last ten years from it; load the"
        " record in batch"
    )
    refused = [
        replace(
            refusal_of(rows, row, ErrorCode.WAREHOUSE_REJECTED, f"{rows[table.partition][row]}: {message}"),
            field=table.partition,
        )
        for row in too_old.arg_true()
    ]
    return rows.filter(~too_old), refused
