"""What Kafka keeps beside a record's value: its key, timestamp and headers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

__all__ = ["ENVELOPE", "TIMESTAMP", "envelope_attributes", "envelope_of"]

KEY, TIMESTAMP, HEADERS = "_key", "_timestamp", "_headers"
ENVELOPE = {KEY: pl.Binary, TIMESTAMP: pl.Int64, HEADERS: pl.String}
"""The columns of an envelope: the key's bytes, milliseconds since 1970, headers as JSON (null where there are none)."""


def envelope_of(
    keys: Sequence[bytes | None], timestamps: Sequence[int], headers: Mapping[int, Iterable[tuple[str, bytes | None]]]
) -> pl.DataFrame:
    """The envelope of a block's records, a row each. `headers` are by number of the record, of those that have some."""
    texts: list[str | None] = [None] * len(keys)
    for number, pairs in headers.items():
        texts[number] = json.dumps([[name, None if value is None else _text(value)] for name, value in pairs])
    return pl.DataFrame({KEY: keys, TIMESTAMP: timestamps, HEADERS: texts}, schema=ENVELOPE)


def envelope_attributes(row: tuple[Any, ...]) -> dict[str, object]:
    """A row of an envelope as a dead letter keeps it: `key`, `timestamp`, `headers`."""
    key, timestamp, headers = row
    found: dict[str, object] = {"timestamp": timestamp}
    if key is not None:
        found["key"] = _text(key)
    if headers is not None:
        found["headers"] = json.loads(headers)
    return found


def _text(value: bytes) -> str | dict[str, str]:
    """The bytes as text where they are UTF-8, else {"base64": …}."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
