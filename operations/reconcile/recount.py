"""Count the records of files again, and compare them with what the ledger says that was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.api_core.exceptions import NotFound

from connectors.bookkeeping.ledger import LOADED
from connectors.files.names import InputFile, form_of
from connectors.files.storage import FileChanged, Storage, StoredFile
from connectors.sources.files import FileRange, read_blocks
from contracts.table import Table
from operations.reconcile.findings import Code, Finding
from operations.reconcile.lines import Line

__all__ = ["Recount"]

MAX_RECORD_BYTES = 8_000_000
"""A longer record is one record, too, whatever the limit of the run was."""


@dataclass
class Recount:
    """What was counted: files that were read again, and those that are gone or have changed since."""

    storage: Storage
    read: int = 0
    gone: list[str] = field(default_factory=list)
    _folders: dict[str, dict[str, StoredFile]] = field(default_factory=dict)

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
        stored = self._listed(line.source)
        if stored is None or (stored.generation, stored.size) != (line.generation, line.size):
            return None
        file = InputFile(table.name, stored.uri, stored.size, stored.generation, stored.content_encoding)
        try:
            return sum(block.count for block in read_blocks(self.storage, FileRange(file), table, MAX_RECORD_BYTES))
        except FileChanged:
            return None

    def _listed(self, uri: str) -> StoredFile | None:
        folder = uri.rpartition("/")[0]
        if folder not in self._folders:
            try:
                self._folders[folder] = {file.uri: file for file in self.storage.list(folder)}
            except NotFound:
                self._folders[folder] = {}
        return self._folders[folder].get(uri)
