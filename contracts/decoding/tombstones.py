"""Tombstones: records of a topic that have a key and no value, and so delete a row.

The key of the record is the primary key of the row: a JSON object with its fields, or, if the primary key is a single
column, the value itself as text or JSON. Debezium's converter wraps the object into `payload`, next to its `schema`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from contracts.decoding.decoder import ATTRIBUTES, RAW, Block, Decoded, Decoder, Format
from contracts.decoding.envelope import envelope_of
from contracts.lineage import POSITION
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["TombstoneDecoder", "is_tombstone"]

TOMBSTONE = "tombstone"
BARE = (Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC, Kind.BIGNUMERIC, Kind.BOOLEAN)
"""Kinds whose values are the same in JSON and as text."""


def is_tombstone(refusal: Refusal) -> bool:
    """Whether the record was refused because it has no value."""
    return bool(refusal.attributes.get(TOMBSTONE))


class TombstoneDecoder:
    """Decodes the keys of tombstones, by the rules of the contract for the columns of the primary key."""

    def __init__(self, table: Table, today: Callable[[], date]) -> None:
        self._columns = tuple(_in_key(table.column(name)) for name in table.primary_key)
        of_key = replace(table, columns=self._columns, unknown_fields=UnknownFields.IGNORE, partition=None)
        self._decoder = Decoder(of_key, today, keep_raw=True)

    def decode(self, source: str, tombstones: Sequence[Refusal], origin: str) -> Decoded:
        """Return rows with the columns of the key, as Decoder does, and the tombstones whose key is no primary key.

        These have the code and the message of what is wrong with their key.
        """
        keys = [_key_of(refusal.attributes) for refusal in tombstones]
        timestamps = [int(str(refusal.attributes["timestamp"])) for refusal in tombstones]
        positions = np.array([refusal.position for refusal in tombstones], dtype=np.int64)
        records = [self._record(key) for key in keys]
        envelope = envelope_of(keys, timestamps, {})
        decoded = self._decoder.decode(Block(source, Format.JSON, records, positions, envelope=envelope, origin=origin))
        given = {refusal.position: refusal for refusal in tombstones}
        rows = decoded.rows.with_columns(
            pl.lit(b"").alias(RAW),
            pl.Series(ATTRIBUTES, [json.dumps(given[at].attributes) for at in decoded.rows[POSITION]], pl.String),
        )
        refused = [
            replace(given[why.position], code=why.code, message=f"a tombstone's key: {why.message}", field=why.field)
            for why in decoded.refusals
        ]
        return Decoded(rows, refused)

    def _record(self, key: bytes | None) -> bytes:
        """Return the key of a record as a JSON object."""
        text = (key or b"").decode(errors="surrogateescape")
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, Mapping) and "schema" in value and isinstance(value.get("payload"), Mapping):
            return json.dumps(value["payload"]).encode()
        if isinstance(value, Mapping) or len(self._columns) > 1 or key is None:
            return key or b"null"
        name, kind = self._columns[0].path[0], self._columns[0].kind
        if isinstance(value, str) or (kind in BARE and value is not None):
            return b"{%b: %b}" % (json.dumps(name).encode(), key)
        return json.dumps({name: text}).encode()


def _in_key(column: Column) -> Column:
    """Return a column of the primary key as it is in the key of a record: by the last name of its path."""
    return replace(column, source=(column.path[-1],), required=True)


def _key_of(attributes: Mapping[str, object]) -> bytes | None:
    """Return the key that a refusal has in its attributes, see envelope.py."""
    key = attributes.get("key")
    if isinstance(key, Mapping):
        return base64.b64decode(str(key["base64"]))
    return None if key is None else str(key).encode()
