"""Read the pinned files of a batch: blocks of raw records, and what was read of each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection, TaggedOutput

from connectors.files.csv_headers import file_columns
from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.sources.files import FileRange, ranges, read_blocks
from contracts.table import Table
from transforms.coders import TableBlock
from transforms.ledger import Count, Door, FileColumns, Source
from transforms.metrics import BYTES, RECORDS
from transforms.run import Run

__all__ = ["FileRecords", "ReadFiles"]

COUNTS = "counts"


class FileRecords(NamedTuple):
    """What comes out of ReadFiles."""

    blocks: PCollection[TableBlock]
    """The records, in blocks of about BLOCK_BYTES."""
    counts: PCollection[Count | FileColumns]
    """The number of records read of each file, upstream of decode; the columns of a file with a header."""
    sources: PCollection[Source]
    """The files themselves, also those without a record."""


@dataclass(eq=False)
class ReadFiles(beam.PTransform[PBegin, FileRecords]):
    """Read files of several tables, in parallel: a large file of lines is read in ranges.

    Attributes:
        files: The files, pinned to a generation. FileChanged is raised if one has another generation when it is read.
        tables: The tables of the files, by name.
        run: The run; its limits apply to each record and to each compressed file.
        storage: Where the files are.
    """

    files: tuple[InputFile, ...]
    tables: Mapping[str, Table]
    run: Run
    storage: Storage

    def expand(self, pipeline: PBegin) -> FileRecords:
        files = pipeline | "List files" >> beam.Create(self.files)
        read = (
            files
            | "Split into ranges" >> beam.ParDo(_SplitIntoRanges(self.tables, self.storage))
            | "Spread ranges" >> beam.Reshuffle()
            | "Read blocks"
            >> beam.ParDo(_ReadBlocks(self.tables, self.run, self.storage))
            .with_output_types(TableBlock)
            .with_outputs(COUNTS, main="blocks")
        )
        return FileRecords(read.blocks, read[COUNTS], files | "List sources" >> beam.Map(_source))


class _SplitIntoRanges(beam.DoFn):
    """InputFile -> FileRange."""

    def __init__(self, tables: Mapping[str, Table], storage: Storage) -> None:
        self._tables = dict(tables)
        self._storage = storage

    def process(self, file: InputFile) -> Iterator[FileRange]:
        yield from ranges(self._storage, file, self._tables[file.table])


class _ReadBlocks(beam.DoFn):
    """FileRange -> TableBlock; Count and FileColumns on `counts`."""

    def __init__(self, tables: Mapping[str, Table], run: Run, storage: Storage) -> None:
        self._tables = dict(tables)
        self._run = run
        self._storage = storage

    def process(self, part: FileRange) -> Iterator[TableBlock | TaggedOutput[str, Count | FileColumns]]:
        table = self._tables[part.file.table]
        run, state = self._run, self._run.state
        records = 0
        columns: FileColumns | None = None

        def on_read(bytes: int, records: int) -> None:
            state.progress.add(bytes=bytes, records=records)
            state.metrics.count(BYTES, bytes, table.name)
            state.metrics.count(RECORDS, records, table.name, "read")

        for block in read_blocks(self._storage, part, table, run.max_record_bytes, run.max_expansion, on_read):
            if columns is None and (columns := file_columns(part.file, block, table)):
                yield TaggedOutput(COUNTS, columns)
            records += block.count
            yield table.name, block
        yield TaggedOutput(COUNTS, Count(table.name, part.file.uri, Door.READ, records))


def _source(file: InputFile) -> Source:
    return Source(file.table, file.uri, file.generation, file.size)
