"""Parquet out: shards of clean rows and files of dead letters, each counted again from the stored file."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from connectors.files.storage import Storage, join
from contracts.decoding.decoder import ATTRIBUTES, HASH_LOW, RAW
from contracts.lineage import RUN_ID, SOURCE
from contracts.refusal import Refusal
from contracts.table import Table
from transforms.coders import TableRows
from transforms.dead_letters import Refused, dead_letters
from transforms.ledger import DeadLetterFile, Shard
from transforms.run import Run

__all__ = ["WriteDeadLetters", "WriteShards", "run_folder"]

COMPRESSION_LEVEL = 1
"""Level of zstd: files are written once and read once; higher levels cost more than they save."""
DEAD_LETTER_FILE_BYTES = 64 << 20
"""Dead letters are held back up to this many bytes, so that a run writes few files."""


def run_folder(folder: str, table: str, run_id: str) -> str:
    """The folder of a run's files of one table: `<folder>/<table>/run_id=<run>`."""
    return join(folder, table, f"run_id={run_id}")


@dataclass(eq=False)
class WriteShards(beam.PTransform[PCollection[TableRows], PCollection[Shard]]):
    """Write the rows of each bucket to one Parquet file, under a name that no other attempt uses.

    Attributes:
        run: The run; files go to its folder `processed`.
        storage: Where the folder is.
    """

    run: Run
    storage: Storage

    def expand(self, rows: PCollection[TableRows]) -> PCollection[Shard]:
        shards: PCollection[Shard] = rows | "Write shard" >> beam.ParDo(_WriteShard(self.run, self.storage))
        return shards


class _WriteShard(beam.DoFn):
    """TableRows -> Shard."""

    def __init__(self, run: Run, storage: Storage) -> None:
        self._run = run
        self._storage = storage

    def process(self, element: TableRows) -> Iterator[Shard]:
        name, bucket, rows = element
        file = f"part-{bucket:05d}-{secrets.token_hex(4)}.parquet"
        uri = join(run_folder(self._run.processed, name, self._run.run_id), file)
        stored = rows.drop(HASH_LOW, RAW, ATTRIBUTES, strict=False).with_columns(pl.lit(self._run.run_id).alias(RUN_ID))
        parquet = io.BytesIO()
        stored.write_parquet(parquet, compression="zstd", compression_level=COMPRESSION_LEVEL)
        self._storage.write(uri, parquet.getvalue())
        yield Shard(name, uri, tuple(stored_counts(self._storage, uri, [SOURCE])))


@dataclass(eq=False)
class WriteDeadLetters(beam.PTransform[PCollection[Refused], PCollection[DeadLetterFile]]):
    """Write the refused records of a bundle to one Parquet file for each table.

    Attributes:
        tables: The tables by name.
        run: The run; files go to its folder `dead_letters`.
        storage: Where the folder is.
        datasets: The dataset of each table, which tells the dead letters of environments apart.
    """

    tables: Mapping[str, Table]
    run: Run
    storage: Storage
    datasets: Mapping[str, str]

    def expand(self, refused: PCollection[Refused]) -> PCollection[DeadLetterFile]:
        step = _WriteDeadLetters(self)
        files: PCollection[DeadLetterFile] = refused | "Write files" >> beam.ParDo(step)
        return files


class _WriteDeadLetters(beam.DoFn):
    """Refused -> DeadLetterFile."""

    def __init__(self, step: WriteDeadLetters) -> None:
        self._tables = dict(step.tables)
        self._run = step.run
        self._storage = step.storage
        self._datasets = dict(step.datasets)
        self._held: dict[str, list[pa.Table]] = {}
        self._held_bytes = 0

    def start_bundle(self) -> None:
        self._held, self._held_bytes = {}, 0

    def process(self, element: Refused) -> Iterator[DeadLetterFile]:
        for refusals in file_groups(element.refusals):
            name, now = element.table, datetime.now(UTC)
            rows = dead_letters(self._tables[name], element.source, refusals, self._run, now, self._datasets[name])
            self._held.setdefault(name, []).append(rows)
            self._held_bytes += rows.nbytes
            if self._held_bytes > DEAD_LETTER_FILE_BYTES:
                yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for file in self._flush():
            yield GlobalWindows.windowed_value(file)

    def _flush(self) -> Iterator[DeadLetterFile]:
        held, self._held, self._held_bytes = self._held, {}, 0
        for name, rows in held.items():
            folder = run_folder(self._run.dead_letters, name, self._run.run_id)
            uri = join(folder, f"part-{secrets.token_hex(8)}.parquet")
            parquet = pa.BufferOutputStream()
            pq.write_table(pa.concat_tables(rows), parquet, compression="zstd")
            self._storage.write(uri, parquet.getvalue().to_pybytes())
            yield DeadLetterFile(uri, tuple(stored_counts(self._storage, uri, ["table", "source", "error_code"])))


def file_groups(refusals: Sequence[Refusal]) -> Iterator[Sequence[Refusal]]:
    """Split the refusals into groups of about DEAD_LETTER_FILE_BYTES: each small record may bring a long header."""
    begin = size = 0
    for number, refusal in enumerate(refusals):
        header = refusal.attributes.get("header")
        size += len(refusal.raw) + (len(header) if isinstance(header, str) else 0)
        if size > DEAD_LETTER_FILE_BYTES:
            yield refusals[begin : number + 1]
            begin, size = number + 1, 0
    if begin < len(refusals):
        yield refusals[begin:]


def stored_counts(storage: Storage, uri: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """Read a stored Parquet file and count its rows by the values of `columns` (strings).

    Returns a sorted list of tuples: the values, then the count.
    """
    with storage.open(uri) as stream:
        table = pq.ParquetFile(stream, read_dictionary=columns).read(columns)
    counted = table.unify_dictionaries().group_by(columns).aggregate([([], "count_all")])
    return sorted(tuple(row[name] for name in (*columns, "count_all")) for row in counted.to_pylist())
