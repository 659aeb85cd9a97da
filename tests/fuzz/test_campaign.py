"""A small campaign: `make fuzz` is the large one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.decoding.decoder import Block, Decoded, Decoder, Format
from tests.fuzz.campaign import run_rounds
from tests.fuzz.cases import TODAY, clean_rows, json_text, tables
from tests.fuzz.checks import Checker, Finding

RECORDS = 25_000
SEED = 20240615


def test_a_small_campaign_finds_nothing(tmp_path: Path) -> None:
    outcome = run_rounds(SEED, itertools.count(), RECORDS, 200, tmp_path, slow=20)
    assert not outcome.findings, "\n".join(outcome.findings)
    assert outcome.counts.records >= RECORDS
    assert outcome.counts.rows > RECORDS / 10, "hardly a record is clean: the mutations are too many"
    assert len(outcome.counts.codes) >= 6


def test_the_seeds_are_clean() -> None:
    """Else what is mutated would say little about clean records."""
    for name, table in tables().items():
        records = [json_text(row).encode() for row in clean_rows(name)]
        block = Block("s", Format.JSON, records, np.arange(len(records), dtype=np.int64))
        decoded = Decoder(table, lambda: TODAY).decode(block)
        refused = [each for each in decoded.refusals if each.code.value != "unknown_field"]
        assert len(refused) < len(records) / 4, (name, refused[:3])


class Losing(Decoder):
    def decode(self, block: Block) -> Decoded:
        decoded = super().decode(block)
        return Decoded(decoded.rows[1:], decoded.refusals)


class Raising(Decoder):
    def _read_columns(self, block: Block) -> tuple[list[Sequence[object]] | None, list[int]]:
        if block.records:
            raise ValueError("of our own making")
        return super()._read_columns(block)


class Rounding(Decoder):
    def decode(self, block: Block) -> Decoded:
        decoded = super().decode(block)
        return Decoded(decoded.rows.with_columns(pl.col("total_paid").floor()), decoded.refusals)


@pytest.mark.parametrize(
    ("defect", "says"), [(Losing, "no door"), (Raising, "of our own making"), (Rounding, "total_paid is")]
)
def test_a_defect_is_found(defect: type[Decoder], says: str) -> None:
    table = tables()["transactions"]
    checker = Checker(table, 10**7)
    checker._decoder = defect(table, lambda: TODAY, True)
    records = [json_text(row).encode() for row in clean_rows("transactions")]
    with pytest.raises(Finding, match=says):
        checker.check(
            Block("s", Format.JSON, records, np.arange(len(records), dtype=np.int64)), np.random.default_rng(1)
        )
