"""Dead letters: every refused record, why it was refused, and what is needed to decode it again.

A dead letter is complete unless BigQuery would refuse it for its size. Its row says what is cut off, and the same
record is always cut in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from contracts.bisect import bisect
from contracts.bookkeeping import DEAD_LETTERS
from contracts.refusal import MAX_STORED_BYTES, WITHOUT_RECORD, Refusal, dead_letter_id, storable
from contracts.table import Table
from transforms.run import PIPELINE_VERSION, Run

__all__ = ["DEAD_LETTER", "Refused", "dead_letters", "minimal"]

MAX_DEAD_LETTER_BYTES = 9_000_000
"""The most bytes of `raw` and `attributes` together; a request to BigQuery may have 10 MB."""
MIN_ATTRIBUTES_BYTES = 500_000
"""Bytes that `attributes` may always have, however large `raw` is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused records of one source of a table.

    `ack` is set in a stream: the packed Ack of the part that the records belong to. The step that stores them
    completes it.
    """

    table: str
    source: str
    refusals: Sequence[Refusal]
    ack: bytes = b""


DEAD_LETTER = DEAD_LETTERS.arrow_schema()
"""The schema of dead letters, one row for each refused record; `attributes` is JSON."""


def dead_letters(
    table: Table, source: str, refusals: Sequence[Refusal], run: Run, now: datetime, origin: str = ""
) -> pa.Table:
    """Return the refused records of one source as rows of DEAD_LETTER, each small enough for BigQuery.

    `dead_letter_id` is the digest of the refusal before anything is cut. `origin` is part of it: it tells sources and
    tables of the same name apart. A refusal whose row cannot be built, for any
    unforeseen reason, becomes a row without the record.
    """
    tables, failures = bisect(refusals, lambda part: _rows(table, source, part, run, now, origin))
    for refusal, error in failures:
        message = f"{refusal.message}{WITHOUT_RECORD}, which no dead letter holds: {error})"
        bare = Refusal(refusal.position, b"", refusal.code, message, size=max(1, len(refusal.raw)))
        tables.append(_rows(table, source, [bare], run, now, origin))
    return pa.concat_tables(tables)


def _rows(table: Table, source: str, refusals: Sequence[Refusal], run: Run, now: datetime, origin: str) -> pa.Table:
    times = len(refusals)
    fitted = _fitted(refusals)
    columns: dict[str, list[Any]] = {
        "dead_letter_id": [
            dead_letter_id(table.name, source, each.position, each.raw, origin, json.dumps(each.attributes.get("key")))
            for each in refusals
        ],
        "table": [table.name] * times,
        "source": [source] * times,
        "position": [each.position for each in refusals],
        "stage": [each.code.stage.value for each in refusals],
        "error_code": [each.code.value for each in refusals],
        "error_message": [each.message for each in refusals],
        "field": [each.field for each in refusals],
        "recoverable": [each.code.recoverable for each in refusals],
        "raw": [raw for raw, _, _ in fitted],
        "truncated": [truncated for _, truncated, _ in fitted],
        "attributes": [attributes for _, _, attributes in fitted],
        "contract_version": [table.contract_version] * times,
        "pipeline_version": [PIPELINE_VERSION] * times,
        "run_id": [run.run_id] * times,
        "retry_count": [0] * times,
        "first_failed_at": [now] * times,
        "failed_at": [now] * times,
    }
    return pa.Table.from_pydict(columns, schema=DEAD_LETTER)


def minimal(rows: pa.Table, reason: str) -> pa.Table:
    """Return dead letters without their records, for a warehouse that refuses the complete ones because of `reason`.

    They keep the position, code and message of each record, and say that the record is not stored.
    """
    bare = [
        {
            **row,
            "raw": b"",
            "truncated": True,
            "field": None,
            "error_message": storable(f"{row['error_message']}{WITHOUT_RECORD}: {reason})"),
            "attributes": json.dumps({"size": json.loads(row["attributes"]).get("size", len(row["raw"]))}),
        }
        for row in rows.to_pylist()
    ]
    return pa.Table.from_pylist(bare, DEAD_LETTER)


def _fitted(refusals: Sequence[Refusal]) -> list[tuple[bytes, bool, str]]:
    """Return `raw`, `truncated` and `attributes` of each refused record, cut to the size limits.

    The records of a block share the values of attributes, such as a long CSV header: the same objects are encoded as
    JSON once.
    """
    written: dict[tuple[object, ...], str] = {}
    fitted = []
    for each in refusals:
        raw, size = each.raw[:MAX_STORED_BYTES], each.size
        if len(raw) < len(each.raw):
            size = size or len(each.raw)
        truncated = size is not None and size > len(raw)
        whole = {**each.attributes, "size": size} if truncated else each.attributes
        same = (size if truncated else None, *each.attributes, *map(id, each.attributes.values()))
        text = written.get(same)
        if text is None:
            text = written[same] = json.dumps(whole)  # ASCII: as many bytes as characters
        most = max(MIN_ATTRIBUTES_BYTES, MAX_DEAD_LETTER_BYTES - len(raw))
        if len(text) > most:
            text = _cut(whole, most)
        fitted.append((raw, truncated, text))
    return fitted


def _cut(attributes: Mapping[str, object], most: int) -> str:
    """Return attributes as JSON of at most `most` bytes, with `NAME_truncated` for each attribute that is cut.

    The last of Kafka's headers are cut first, then the ends of strings, the longest string first.
    """
    cut = dict(attributes)

    def text() -> str:
        return json.dumps(cut)

    headers = cut.get("headers")
    while isinstance(headers, list) and headers and len(text()) > most:
        headers = headers[: len(headers) // 2]
        cut |= {"headers": headers, "headers_truncated": True}
    while len(text()) > most:
        name = max(cut, key=lambda name: len(json.dumps(cut[name])))
        value = cut[name]
        if isinstance(value, str) and value:
            cut |= {name: value[: len(value) // 2], f"{name}_truncated": True}
        elif isinstance(value, dict) and value.get("base64"):
            whole = len(value["base64"]) // 8 * 4  # of four digits each
            cut |= {name: {"base64": value["base64"][:whole]}, f"{name}_truncated": True}
        else:
            return json.dumps({"attributes_truncated": True})
    return text()
