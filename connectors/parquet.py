"""Parquet out: shards of clean rows and files of dead letters, each counted again from what was stored."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from connectors.storage import Storage, join
from contracts.decode import ATTRIBUTES, HASH_LOW, RAW
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Table
from transforms.dead_letters import dead_letters
from transforms.ledger import LetterFile, Shard
from transforms.run import Run

__all__ = ["WriteDeadLetters", "WriteShards", "run_folder"]

COMPRESSION_LEVEL = 1
"""Of zstd: files are written once and read once; higher levels cost more than they save."""
DUPLICATE = "another record of this run has the same primary key"
LETTER_FILE_BYTES = 64 << 20
"""Dead letters are held back up to this many bytes, so that a run makes few files."""


def run_folder(folder: str, table: str, run_id: str) -> str:
    """Where a run's files of one table are: `<folder>/<table>/run_id=<run>`."""
    return join(folder, table, f"run_id={run_id}")


class WriteShards(beam.DoFn):
    """(table, bucket, rows) -> Shard: one Parquet file, under a name that no other attempt uses."""

    def __init__(self, run: Run, storage: Storage) -> None:
        self._run = run
        self._storage = storage

    def process(self, element: tuple[str, int, pl.DataFrame]) -> Iterator[Shard]:
        name, bucket, rows = element
        file = f"part-{bucket:05d}-{secrets.token_hex(4)}.parquet"
        uri = join(run_folder(self._run.processed, name, self._run.run_id), file)
        sink = io.BytesIO()
        stored = rows.drop(HASH_LOW, RAW, ATTRIBUTES, strict=False).with_columns(
            pl.lit(self._run.run_id).alias("_run_id")
        )
        stored.write_parquet(sink, compression="zstd", compression_level=COMPRESSION_LEVEL)
        self._storage.write(uri, sink.getvalue())
        yield Shard(name, uri, tuple(stored_counts(self._storage, uri, ["_source"])))


class WriteDeadLetters(beam.DoFn):
    """(table, source, refusals) -> LetterFile: the refused records of a bundle in one Parquet file a table."""

    def __init__(self, tables: Mapping[str, Table], run: Run, storage: Storage) -> None:
        self._tables = dict(tables)
        self._run = run
        self._storage = storage
        self._held: dict[str, list[pa.Table]] = {}
        self._bytes = 0

    def start_bundle(self) -> None:
        self._held, self._bytes = {}, 0

    def process(self, element: tuple[str, str, list[Refusal]]) -> Iterator[LetterFile]:
        name, source, refusals = element
        letters = dead_letters(self._tables[name], source, refusals, self._run, datetime.now(UTC))
        self._held.setdefault(name, []).append(letters)
        self._bytes += letters.nbytes
        if self._bytes > LETTER_FILE_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for file in self._flush():
            yield GlobalWindows.windowed_value(file)

    def _flush(self) -> Iterator[LetterFile]:
        held, self._held, self._bytes = self._held, {}, 0
        for name, letters in held.items():
            folder = run_folder(self._run.dead_letters, name, self._run.run_id)
            uri = join(folder, f"part-{secrets.token_hex(8)}.parquet")
            sink = pa.BufferOutputStream()
            pq.write_table(pa.concat_tables(letters), sink, compression="zstd")
            self._storage.write(uri, sink.getvalue().to_pybytes())
            yield LetterFile(uri, tuple(stored_counts(self._storage, uri, ["table", "source", "error_code"])))


def duplicate_refusals(rows: pl.DataFrame) -> Iterator[tuple[str, list[Refusal]]]:
    """Duplicates that are kept for audit, as refusals by source; `rows` as Decoder makes them with `keep_raw`."""
    for (source,), group in rows.group_by("_source", maintain_order=True):
        yield (
            str(source),
            [
                Refusal(position, raw, ErrorCode.DUPLICATE, DUPLICATE, attributes=json.loads(attributes))
                for position, raw, attributes in group.select("_position", RAW, ATTRIBUTES).iter_rows()
            ],
        )


def stored_counts(storage: Storage, uri: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """How many rows of a stored Parquet file have each combination of values of `columns` (texts), in order.

    Each is a tuple of the values and the count: read back, not remembered.
    """
    with storage.open(uri) as stream:
        table = pq.ParquetFile(stream, read_dictionary=columns).read(columns)
    counted = table.unify_dictionaries().group_by(columns).aggregate([([], "count_all")])
    return sorted(tuple(row[name] for name in (*columns, "count_all")) for row in counted.to_pylist())
