"""Read the dead letters that a run sends again: blocks of their records, and how many there are of each source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from connectors.bigquery.arrow_read import read_batches
from connectors.sources.read_files import COUNTS, FileRecords
from connectors.sources.stored_letters import StoredLetter, WholeRecords, blocks_again
from contracts.decoding.patch import Patch
from contracts.table import Table
from transforms.coders import TableBlock
from transforms.ledger import Count, Door, Source
from transforms.metrics import BYTES, RECORDS
from transforms.run import Run

__all__ = ["LETTER_COLUMNS", "ReadLetters", "letters_of"]

LETTER_COLUMNS = ("source", "position", "raw", "truncated", "error_code", "error_message", "attributes", "run_id")
T = TypeVar("T")


@dataclass(eq=False)
class ReadLetters(beam.PTransform[PBegin, FileRecords]):
    """Read the dead letters of `pinned`, a table of the operations dataset that does not change.

    Attributes:
        pinned: Its name. It has the columns of LETTER_COLUMNS, `attributes` as text, and `table_name`.
        tables: The tables that the dead letters are of, by name.
        run: The run.
        patches: What corrects the records of a table before they are decoded, by name of the table.
        whole: Where the records are of which only the beginning is stored.
    """

    pinned: str
    tables: Mapping[str, Table]
    run: Run
    patches: Mapping[str, Patch]
    whole: WholeRecords

    def expand(self, pipeline: PBegin) -> FileRecords:
        read = (
            pipeline
            | "List tables" >> beam.Create(sorted(self.tables))
            | "Read letters"
            >> beam.ParDo(_ReadLetters(self.pinned, self.tables, self.run, self.patches, self.whole))
            .with_output_types(TableBlock)
            .with_outputs(COUNTS, SOURCES, main="blocks")
        )
        return FileRecords(read.blocks, read[COUNTS], read[SOURCES])


SOURCES = "sources"


class _ReadLetters(beam.DoFn):
    """Name of a table -> TableBlock; Count on `counts`, Source on `sources`."""

    def __init__(
        self, pinned: str, tables: Mapping[str, Table], run: Run, patches: Mapping[str, Patch], whole: WholeRecords
    ) -> None:
        self._pinned = pinned
        self._whole = whole
        self._patches = dict(patches)
        self._tables = dict(tables)
        self._run = run

    def process(self, name: str) -> Iterator[TableBlock | TaggedOutput[str, Count | Source]]:
        run, table, state = self._run, self._tables[name], self._run.state
        patch = self._patches.get(name)
        read: Counter[str] = Counter()
        for letters in letters_of(run.project, run.operations_dataset, self._pinned, name):
            size = sum(len(letter.raw) for letter in letters)
            state.progress.add(bytes=size, records=len(letters))
            state.metrics.count(BYTES, size, name)
            state.metrics.count(RECORDS, len(letters), name, "read")
            for block in blocks_again(letters, table, run.max_record_bytes, self._whole):
                read[block.source] += block.count
                yield name, patch.apply(block, run.max_record_bytes).block if patch else block
        for source, records in sorted(read.items()):
            yield TaggedOutput(SOURCES, Source(name, source, 0, 0))
            yield TaggedOutput(COUNTS, Count(name, source, Door.READ, records))


def letters_of(project: str, dataset: str, pinned: str, table: str) -> Iterator[Sequence[StoredLetter]]:
    """Yield the pinned letters of a table, in batches."""
    for batch in read_batches(project, dataset, pinned, LETTER_COLUMNS, f"table_name = '{table}'"):
        yield [StoredLetter.of(row) for row in batch.to_pylist()]
