"""What becomes of the rows of a file with a schema."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

from connectors.sources.files import FileRange, InputFile, blocks_of
from contracts.decoding.decoder import Block, Decoder
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table, UnknownFields

__all__ = ["LIMIT", "TODAY", "blocks", "fates", "table"]

TODAY = date(2024, 6, 15)
LIMIT = 10_000_000


def table(*columns: Column, unknown: UnknownFields = UnknownFields.IGNORE) -> Table:
    """A table of these columns and the key `id`."""
    return Table("t", (Column("id", Kind.STRING, required=True), *columns), ("id",), unknown_fields=unknown)


def blocks(data: bytes, of: Table, name: str = "t.parquet", limit: int = LIMIT) -> list[Block]:
    """The blocks of a file."""
    return list(blocks_of(io.BytesIO(data), FileRange(InputFile("t", name, len(data), 0)), of, limit))


def fates(
    data: bytes, of: Table, limit: int = LIMIT, name: str = "t.parquet"
) -> tuple[list[dict[str, Any]], list[Refusal]]:
    """The rows by column name and the refusals, both in order; each row of the file is one of them."""
    decoder = Decoder(of, lambda: TODAY)
    found = [decoder.decode(block) for block in blocks(data, of, name, limit)]
    rows = [row for part in found for row in part.rows.iter_rows(named=True)]
    return rows, sorted((each for part in found for each in part.refusals), key=lambda each: each.position)
