"""Coders of blocks and frames: what they move is what comes out, and no size is guessed by pickling."""

from __future__ import annotations

import numpy as np
import polars as pl
from apache_beam.coders.typecoders import registry
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import Block, Format
from contracts.refusal import ErrorCode, Refusal
from contracts.table import CsvDialect
from transforms.coders import BlockCoder, FrameCoder, TableBlock, TableRows, as_ipc, from_ipc


def test_a_block_comes_out_as_it_went_in() -> None:
    refusal = Refusal(9, b"\xff", ErrorCode.INVALID_ENCODING, "no", attributes={"format": "csv"})
    header = parse_header(b"id,x", CsvDialect())
    block = Block("s", Format.CSV, [b"1,2", b"\x00"], np.array([5, 9]), header, (refusal,))
    result = BlockCoder().decode(BlockCoder().encode(block))
    assert result.positions.tolist() == [5, 9]
    assert (result.source, result.format, result.records, result.header, result.refusals) == (
        block.source,
        block.format,
        block.records,
        block.header,
        block.refusals,
    )
    assert BlockCoder().estimate_size(block) == 4


def test_a_frame_comes_out_as_it_went_in() -> None:
    frame = pl.DataFrame({"a": ["x", None], "b": [1, 2]}, schema={"a": pl.String, "b": pl.Int64})
    assert from_ipc(as_ipc(frame)).equals(frame)
    assert FrameCoder().decode(FrameCoder().encode(frame)).equals(frame)
    assert FrameCoder().estimate_size(frame) > 0


def test_beam_takes_these_coders_for_what_passes_between_the_steps() -> None:
    for of, part in ((TableBlock, BlockCoder), (TableRows, FrameCoder)):
        coder = registry.get_coder(convert_to_beam_type(of))
        assert isinstance(coder.coders()[-1], part)
