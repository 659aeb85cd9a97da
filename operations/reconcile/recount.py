"""Count the records of files again, and compare them with what the ledger says that was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from connectors.bookkeeping.ledger import LOADED
from connectors.files.names import form_of
from connectors.files.storage import FileChanged
from connectors.sources.files import FileRange, read_blocks
from contracts.table import Table
from operations.reconcile.files import LoadedFiles
from operations.reconcile.findings import Code, Finding
from operations.reconcile.lines import Line

__all__ = ["Recount"]

MAX_RECORD_BYTES = 8_000_000
"""A longer record is one record, too, whatever the limit of the run was."""


@dataclass
class Recount:
    """What was counted: files that were read again, and those that are gone or have changed since."""

    files: LoadedFiles
    read: int = 0
    gone: list[str] = field(default_factory=list)

    def findings(self, lines: Iterable[Line], tables: Mapping[str, Table]) -> Iterator[Finding]:
        """Yield the files whose records are not as many as the newest line about each says."""
        newest = {(line.table, line.source): line for line in lines if line.kind == LOADED and line.pipeline == "batch"}
        for line in newest.values():
            table = tables.get(line.table)
            if table is None or form_of(line.source) is None:
                continue
            records = self._records(line, table)
            if records is None:
                self.gone.append(line.source)
                continue
            self.read += 1
            if records != line.read:
                count = abs(records - line.read)
                yield Finding(Code.FILE_DIFFERS, line.name, line.source, line.run, count, line.read, records)

    def _records(self, line: Line, table: Table) -> int | None:
        """Return the records of the file; None if it is gone or not the one that was read."""
        file = self.files.unchanged(line)
        if file is None:
            return None
        try:
            return sum(
                block.count for block in read_blocks(self.files.storage, FileRange(file), table, MAX_RECORD_BYTES)
            )
        except FileChanged:
            return None
