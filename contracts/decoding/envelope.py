"""The envelope of a Kafka record: its key, timestamp and headers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

__all__ = ["ENVELOPE", "TIMESTAMP", "envelope_attributes", "envelope_of"]

KEY, TIMESTAMP, HEADERS = "_key", "_timestamp", "_headers"
ENVELOPE = {KEY: pl.Binary, TIMESTAMP: pl.Int64, HEADERS: pl.String}
"""The columns of an envelope: the key in bytes, milliseconds since 1970, and headers as JSON (null if none)."""


def envelope_of(
    keys: Sequence[bytes | None], timestamps: Sequence[int], headers: Mapping[int, Iterable[tuple[str, bytes | None]]]
) -> pl.DataFrame:
    """Return one row for each record of a block. `headers` maps the index of a record to its headers, if it has any."""
    texts: list[str | None] = [None] * len(keys)
    for number, pairs in headers.items():
        texts[number] = json.dumps([[name, None if value is None else _text(value)] for name, value in pairs])
    return pl.DataFrame({KEY: keys, TIMESTAMP: timestamps, HEADERS: texts}, schema=ENVELOPE)


def envelope_attributes(row: tuple[Any, ...]) -> dict[str, object]:
    """Return a row of an envelope as a dead letter stores it: `key`, `timestamp`, `headers`."""
    key, timestamp, headers = row
    attributes: dict[str, object] = {"timestamp": timestamp}
    if key is not None:
        attributes["key"] = _text(key)
    if headers is not None:
        attributes["headers"] = json.loads(headers)
    return attributes


def _text(value: bytes) -> str | dict[str, str]:
    """Return the bytes as text if they are UTF-8, else {"base64": …}."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
