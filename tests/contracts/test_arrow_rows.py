"""Rows in the types in which they are stored: every type, alone, in arrays and in objects."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import polars as pl

from contracts.arrow_rows import arrow_rows
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.lineage import INGESTED_AT, RUN_ID, SOURCE
from contracts.schemas import arrow_schema
from contracts.table import Column, Kind, Table

FIELDS = (Column("t", Kind.TIME), Column("n", Kind.BIGNUMERIC), Column("j", Kind.JSON), Column("b", Kind.BYTES))
TABLE = Table(
    "t",
    (
        Column("id", Kind.INTEGER, required=True),
        *FIELDS,
        Column("at", Kind.DATETIME),
        Column("times", Kind.TIME, repeated=True),
        Column("box", Kind.RECORD, fields=FIELDS),
        Column("boxes", Kind.RECORD, repeated=True, fields=(*FIELDS, Column("times", Kind.TIME, repeated=True))),
    ),
    ("id",),
)
BOX = '{"t":"12:30","n":1.5,"j":{"a":1},"b":"AA=="}'
STORED = {"t": time(12, 30), "n": Decimal("1.5"), "j": '{"a":1}', "b": b"\0"}


def test_every_type_is_stored_as_it_is_declared() -> None:
    full = f'{{"id":1,"at":"2024-05-01 12:00","times":["01:00","02:00:00.5"],"box":{BOX},"boxes":[{BOX},{{}}],{BOX[1:]}'
    records = [full.encode(), b'{"id":2}', full.replace('"id":1', '"id":3').encode()]
    block = Block("s", Format.JSON, records, np.arange(3, dtype=np.int64))
    decoded = Decoder(TABLE, lambda: date(2024, 6, 1)).decode(block)
    assert decoded.refusals == []
    rows = decoded.rows.with_columns(
        pl.lit("s").alias(SOURCE), pl.lit("r").alias(RUN_ID), pl.lit(0, pl.Datetime("us", "UTC")).alias(INGESTED_AT)
    )
    stored = arrow_rows(rows, arrow_schema(TABLE))
    assert stored.schema == arrow_schema(TABLE)
    first, second, third = stored.select([column.name for column in TABLE.columns]).to_pylist()
    nothing = dict.fromkeys(STORED)
    assert first == {
        "id": 1,
        **STORED,
        "at": datetime(2024, 5, 1, 12),
        "times": [time(1), time(2, 0, 0, 500_000)],
        "box": STORED,
        "boxes": [{**STORED, "times": []}, {**nothing, "times": []}],
    }
    assert second == {"id": 2, **nothing, "at": None, "times": [], "box": None, "boxes": []}
    assert third == {**first, "id": 3}
