"""The files that the ledger names, as they are now."""

from __future__ import annotations

from google.api_core.exceptions import NotFound

from connectors.files.names import InputFile
from connectors.files.storage import Storage, StoredFile
from operations.reconcile.lines import Line

__all__ = ["LoadedFiles"]


class LoadedFiles:
    """Finds files by the lines about them. Each folder is listed once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._folders: dict[str, dict[str, StoredFile]] = {}

    def unchanged(self, line: Line) -> InputFile | None:
        """Return the file of a line; None if it is gone or not the one that was read."""
        stored = self._listed(line.source)
        if stored is None or (stored.generation, stored.size) != (line.generation, line.size):
            return None
        return InputFile(line.table, stored.uri, stored.size, stored.generation, stored.content_encoding)

    def _listed(self, uri: str) -> StoredFile | None:
        folder = uri.rpartition("/")[0]
        if folder not in self._folders:
            try:
                self._folders[folder] = {file.uri: file for file in self.storage.list(folder)}
            except NotFound:
                self._folders[folder] = {}
        return self._folders[folder].get(uri)
