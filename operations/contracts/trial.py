"""Try a contract on data: what a run would make of each record, and nothing is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from connectors.files.csv_headers import file_columns
from connectors.files.names import InputFile
from contracts.decoding.decoder import EXTRA, Block, Decoded, Decoder
from contracts.errors import UsageError
from contracts.lineage import SOURCE
from contracts.refusal import Refusal
from contracts.table import Table, UnknownFields
from operations.contracts.written import written_rows

__all__ = ["Trial", "table_named", "try_records"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run would make of the records: read = rows + duplicates + refused."""

    read: int
    rows: pl.DataFrame
    """The rows as they would be stored, in order of source and position."""
    duplicates: int
    refused: list[tuple[str, Refusal]]
    """The dead letters, each with its source."""
    missing: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    """By file with a header: the columns that the contract names and the file lacks, and the names of the file."""

    @property
    def codes(self) -> dict[str, int]:
        """The number of dead letters by code, the most frequent first."""
        return dict(Counter(refusal.code.value for _, refusal in self.refused).most_common())


def table_named(tables: Mapping[str, Table], name: str | None) -> Table:
    """Return the table, or the only one there is. Raises UsageError."""
    known = ", ".join(tables)
    if name is None and len(tables) > 1:
        raise UsageError(f"the contract has the tables {known}; name one with --table")
    if name is not None and name not in tables:
        raise UsageError(f"--table {name}: the contract has no such table; there are {known}")
    return tables[name] if name is not None else next(iter(tables.values()))


def try_records(blocks: Iterable[Block], table: Table, limit: int | None = None, *, streamed: bool = False) -> Trial:
    """Decode, validate and deduplicate the first `limit` records by the code of a run."""
    today = datetime.now(UTC).date()
    decoder = Decoder(table, lambda: today)
    read, refused, frames = 0, list[tuple[str, Refusal]](), list[pl.DataFrame]()
    missing: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for block in _first(blocks, limit):
        if block.source not in missing and (found := file_columns(_named(block), block, table)):
            missing[block.source] = (found.missing, found.names)
        decoded: Decoded = decoder.decode(block)
        read += block.count
        refused += [(block.source, refusal) for refusal in decoded.refusals]
        frames.append(decoded.rows.with_columns(pl.lit(block.source).alias(SOURCE)))
    stored = [column.name for column in table.columns]
    stored += [EXTRA] if table.unknown_fields is UnknownFields.KEEP else []
    if not frames:
        return Trial(0, pl.DataFrame(), 0, [], {})
    rows = pl.concat(frames)
    written = written_rows(rows, table, streamed=streamed)
    return Trial(
        read,
        written.select(stored),
        len(rows) - len(written),
        refused,
        {source: names for source, names in missing.items() if names[0]},
    )


def _first(blocks: Iterable[Block], limit: int | None) -> Iterator[Block]:
    """Yield the blocks of the first `limit` records."""
    left = limit
    for block in blocks:
        if left is None or block.count <= left:
            yield block
            left = None if left is None else left - block.count
        else:
            part = block.part(range(min(left, len(block.records))))
            end = int(part.positions[-1]) if len(part.positions) else 0
            yield replace(part, refusals=tuple(each for each in block.refusals if each.position < end))
            return
        if left == 0:
            return


def _named(block: Block) -> InputFile:
    return InputFile("", block.source, 0, 0)
