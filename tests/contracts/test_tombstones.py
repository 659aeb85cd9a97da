"""The keys of tombstones, as producers write them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from contracts.decoding.decoder import Block, Decoded, Decoder, Format
from contracts.decoding.envelope import envelope_attributes
from contracts.decoding.tombstones import TombstoneDecoder, is_tombstone
from contracts.lineage import HASH
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Column, Kind, Table

TABLE = Table(
    "t", (Column("id", Kind.INTEGER, required=True, source=("after", "id")), Column("v", Kind.STRING)), ("id",)
)
TEXT = replace(TABLE, columns=(Column("id", Kind.STRING, required=True, max_length=9), Column("v", Kind.STRING)))
TWO = replace(
    TABLE,
    columns=(Column("a", Kind.INTEGER, required=True), Column("b", Kind.STRING, required=True)),
    primary_key=("a", "b"),
)


def today() -> date:
    return date(2026, 1, 1)


def decode(table: Table, *keys: bytes | None) -> Decoded:
    """Decode tombstones with these keys, at positions from 0 on."""
    tombstones = [
        Refusal(
            number,
            b"",
            ErrorCode.MALFORMED_JSON,
            "no value",
            attributes={"format": "json", **envelope_attributes((key, 5, None)), "tombstone": True},
        )
        for number, key in enumerate(keys)
    ]
    assert all(map(is_tombstone, tombstones))
    return TombstoneDecoder(table, today).decode("kafka://t/0", tombstones, "kafka://t/0#id")


@pytest.mark.parametrize(
    ("table", "key", "values"),
    [
        (TABLE, b"8", (8,)),
        (TABLE, b'"8"', (8,)),
        (TABLE, b'{"id": 8}', (8,)),
        (TABLE, b'{"schema": {"type": "struct"}, "payload": {"id": 8}}', (8,)),
        (TEXT, b"abc", ("abc",)),
        (TEXT, b'"abc"', ("abc",)),
        (TEXT, b"007", ("007",)),
        (TEXT, b"1.50", ("1.50",)),
        (TEXT, b"true", ("true",)),
        (TEXT, b'{"id": "{}"}', ("{}",)),
        (TWO, b'{"a": 1, "b": "x", "c": 2}', (1, "x")),
    ],
)
def test_keys(table: Table, key: bytes, values: tuple[Any, ...]) -> None:
    decoded = decode(table, key)
    assert decoded.refusals == []
    assert decoded.rows.select(table.primary_key).rows() == [values]


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (TABLE, None),
        (TABLE, b""),
        (TABLE, b"abc"),
        (TABLE, b'{"no": 8}'),
        (TABLE, b"[8]"),
        (TABLE, b"\xff"),
        (TABLE, b"NaN"),
        (TABLE, b"[" * 100_000),
        (TABLE, b'{"schema": 1, "payload": 2}'),
        (TEXT, b"\xff"),
        (TEXT, b"0123456789"),
        (TWO, b"8"),
        (TWO, b'{"a": 1}'),
    ],
)
def test_keys_that_are_no_primary_key(table: Table, key: bytes | None) -> None:
    """Each is refused by itself, with the attributes of the tombstone."""
    decoded = decode(table, key, b'{"id": "1", "a": 1, "b": "x"}')
    assert len(decoded.rows) == 1
    (refusal,) = decoded.refusals
    assert refusal.position == 0
    assert refusal.message.startswith("a tombstone's key: ")
    assert refusal.attributes["tombstone"] is True
    assert refusal.raw == b""


def test_the_digest_is_that_of_the_row() -> None:
    """A tombstone is in the same bucket as the records of its key."""
    block = Block("kafka://t/0", Format.JSON, [b'{"a": 1, "b": "x"}'], np.array([0], dtype=np.int64))
    row = Decoder(TWO, today, keep_raw=True).decode(block).rows
    assert decode(TWO, b'{"a": 1, "b": "x"}').rows[HASH].to_list() == row[HASH].to_list()
