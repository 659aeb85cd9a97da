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
    times = len(refusals)
    columns: dict[str, list[Any]] = {
        "dead_letter_id": [dead_letter_id(table.name, source, each.position, each.raw) for each in refusals],
        "table": [table.name] * times,
        "source": [source] * times,
        "position": [each.position for each in refusals],
        "stage": [each.code.stage.value for each in refusals],
        "error_code": [each.code.value for each in refusals],
        "error_message": [each.message for each in refusals],
        "field": [each.field for each in refusals],
        "recoverable": [each.code.recoverable for each in refusals],
        "raw": [each.raw for each in refusals],
        "truncated": [each.truncated for each in refusals],
        "attributes": [
            json.dumps({**each.attributes, **({"size": each.size} if each.truncated else {})}) for each in refusals
        ],
        "contract_version": [table.contract_version] * times,
        "pipeline_version": [PIPELINE_VERSION] * times,
        "run_id": [run.run_id] * times,
        "retry_count": [0] * times,
        "first_failed_at": [now] * times,
        "failed_at": [now] * times,
    }
    return pa.Table.from_pydict(columns, schema=DEAD_LETTER)
