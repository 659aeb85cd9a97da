"""Batch: files become blocks, blocks become clean rows, and every record leaves by one of three doors.

pinned files -> read blocks -> decode and validate -> deduplicate -> Parquet shards --.
                    |                  |                   |                          |
                    `-- counts         `-- dead letters    `-- duplicates             |
                             `---------------- ledger balances <---------------------'
                                                   |
                              record -> load staging -> merge -> close
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.files.table_rows import TABLE_FORMATS
from connectors.sinks.dead_letter_store import NewDeadLetters
from connectors.sinks.destination import Destination
from connectors.sinks.load import LoadTables
from connectors.sinks.parquet import WriteDeadLetters, WriteShards
from connectors.sources.read_files import FileRecords, ReadFiles
from contracts.table import Table
from transforms.balance import BalanceLedger
from transforms.coders import TableRows
from transforms.dead_letters import Refused
from transforms.decode import DecodeAndValidate
from transforms.deduplicate import Deduplicate
from transforms.ledger import Balance, DeadLetterFile, Shard
from transforms.parts import IN_ELEMENTS, PartStore
from transforms.run import Run

__all__ = ["LAUNCHER_STEPS", "Batch", "buckets_for", "expanded_bytes"]

LAUNCHER_STEPS = ("Balance ledger", "Load tables")
"""The steps that a batch with several processes keeps in the launcher: they hold the leases, and are small."""
BUCKET_BYTES = 64 << 20
ASSUMED_EXPANSION = 6
"""Assumed expansion of compressed input, to choose the number of buckets."""
MAX_EXPANSION, MAX_ROW_EXPANSION = 100, 1000
"""The largest expansion of compressed input that is expected, to stop a run early for its dead letters. A row of
Parquet, Avro or ORC becomes JSON with the names of its columns."""
MAX_BUCKETS = 4096


def buckets_for(files: Iterable[InputFile]) -> int:
    """Return the number of buckets for a table's keys: about one for each 64 MB of input."""
    return max(1, min(MAX_BUCKETS, math.ceil(expanded_bytes(files) / BUCKET_BYTES)))


def expanded_bytes(files: Iterable[InputFile]) -> int:
    """Return an estimate of the bytes of records in files."""
    return sum(file.size * (ASSUMED_EXPANSION if _is_compressed(file) else 1) for file in files)


def _is_compressed(file: InputFile) -> bool:
    return bool(file.compression or file.content_encoding) or file.format in TABLE_FORMATS


@dataclass(frozen=True)
class Batch:
    """A batch run as a graph: its middle is fixed, its four ends are fields.

    The ends of a real run are those of `between`; a test replaces one with `dataclasses.replace`.
    """

    run: Run
    tables: Mapping[str, Table]
    inputs: tuple[InputFile, ...]
    read: beam.PTransform[PBegin, FileRecords]
    write_rows: beam.PTransform[PCollection[TableRows], PCollection[Shard]]
    write_dead_letters: beam.PTransform[PCollection[Refused], PCollection[DeadLetterFile]]
    load: beam.PTransform[PCollection[Balance], Any]
    parts: PartStore = IN_ELEMENTS
    """Where rows are while they are shuffled."""

    @classmethod
    def between(cls, inputs: tuple[InputFile, ...], storage: Storage, destination: Destination) -> Batch:
        """The batch from `inputs` in `storage` to `destination`."""
        run, tables = destination.run, destination.tables
        return cls(
            run,
            tables,
            inputs,
            read=ReadFiles(inputs, tables, run, storage),
            write_rows=WriteShards(run, storage),
            write_dead_letters=WriteDeadLetters(tables, run, storage, destination.datasets),
            load=LoadTables(destination, storage, NewDeadLetters(destination)),
        )

    def build(self, pipeline: beam.Pipeline) -> None:
        """Add the run to the pipeline, to its end: no launcher is needed to finish it."""
        files = pipeline | "Read files" >> self.read
        decoded = files.blocks | "Decode and validate" >> DecodeAndValidate(
            self.tables, self._buckets(), self.run, self._expected_bytes(), self.parts
        )
        unique = decoded.rows | "Deduplicate" >> Deduplicate(self.tables, self.run, self.parts)
        refused = decoded.refused
        if unique.duplicates is not None:  # FnApiRunner runs a Flatten as a separate stage
            refused = (decoded.refused, unique.duplicates) | "Flatten refused" >> beam.Flatten()
        shards = unique.rows | "Write shards" >> self.write_rows
        dead_letters = refused | "Write dead letters" >> self.write_dead_letters
        counts = files.sources, files.counts, decoded.skipped, unique.counts, shards, dead_letters
        balance = counts | "Balance ledger" >> BalanceLedger(self.run)
        _ = balance | "Load tables" >> self.load

    def _buckets(self) -> dict[str, int]:
        return {name: buckets_for(file for file in self.inputs if file.table == name) for name in self.tables}

    def _expected_bytes(self) -> dict[str, int]:
        """Return an upper bound of the bytes of records of each table; it is exact for plain files."""
        expected: Counter[str] = Counter()
        for file in self.inputs:
            expansion = MAX_ROW_EXPANSION if file.format in TABLE_FORMATS else MAX_EXPANSION
            expected[file.table] += file.size * (expansion if _is_compressed(file) else 1)
        return dict(expected)
