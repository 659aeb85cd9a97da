"""Dead letters: every refused record, whole, with why it was refused and what is needed to decode it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from contracts.refusal import Refusal, dead_letter_id
from contracts.table import Table
from transforms.run import PIPELINE_VERSION, Run

__all__ = ["DEAD_LETTER", "Refused", "dead_letters"]


class Refused(NamedTuple):
    """Refused records of one source of a stream, and the Ack (msgpack) that whoever stores them completes."""

    table: str
    source: str
    refusals: list[Refusal]
    ack: bytes


_FIELDS: list[pa.Field[Any]] = [
    pa.field("dead_letter_id", pa.string(), nullable=False),
    pa.field("table", pa.string(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("position", pa.int64(), nullable=False),
    pa.field("stage", pa.string(), nullable=False),
    pa.field("error_code", pa.string(), nullable=False),
    pa.field("error_message", pa.string(), nullable=False),
    pa.field("field", pa.string()),
    pa.field("recoverable", pa.bool_(), nullable=False),
    pa.field("raw", pa.binary(), nullable=False),
    pa.field("truncated", pa.bool_(), nullable=False),
    pa.field("attributes", pa.string()),
    pa.field("contract_version", pa.string()),
    pa.field("pipeline_version", pa.string()),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("retry_count", pa.int64(), nullable=False),
    pa.field("first_failed_at", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("failed_at", pa.timestamp("us", "UTC"), nullable=False),
]
DEAD_LETTER = pa.schema(_FIELDS)
"""One row a refused record; `attributes` is JSON."""


def dead_letters(table: Table, source: str, refusals: Sequence[Refusal], run: Run, now: datetime) -> pa.Table:
    """The refused records of one source as dead letters, under DEAD_LETTER."""
    rows = [
        {
            "dead_letter_id": dead_letter_id(table.name, source, refusal.position, refusal.raw),
            "table": table.name,
            "source": source,
            "position": refusal.position,
            "stage": refusal.code.stage.value,
            "error_code": refusal.code.value,
            "error_message": refusal.message,
            "field": refusal.field,
            "recoverable": refusal.code.recoverable,
            "raw": refusal.raw,
            "truncated": refusal.truncated,
            "attributes": json.dumps({**refusal.attributes, **({"size": refusal.size} if refusal.truncated else {})}),
            "contract_version": table.contract_version,
            "pipeline_version": PIPELINE_VERSION,
            "run_id": run.run_id,
            "retry_count": 0,
            "first_failed_at": now,
            "failed_at": now,
        }
        for refusal in refusals
    ]
    return pa.Table.from_pylist(rows, schema=DEAD_LETTER)
