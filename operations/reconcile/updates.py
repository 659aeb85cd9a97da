"""Tables that a stream of updates feeds: their rows are compared with the changes that the stream has appended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from connectors.bigquery.warehouse import Warehouse
from connectors.sinks.fold import pending_query
from connectors.sinks.folder import CHANGES_KEPT
from contracts.changes import changes_of, takes_updates
from contracts.schemas import quote
from contracts.table import Table
from operations.reconcile.findings import Code, Finding

__all__ = ["RECENT_CHANGES", "Updates"]

RECENT_CHANGES = CHANGES_KEPT - timedelta(days=1)
"""The changes of lines that are no older than this are all kept."""


class Updates:
    """The tables among `tables` that a stream of updates has fed."""

    def __init__(self, warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str]) -> None:
        """`tables` and `datasets`, both by name."""
        self._warehouse, self._tables = warehouse, tables
        self._changes = {
            name: changes
            for name, table in tables.items()
            if takes_updates(table)
            and warehouse.existing(datasets[name], (changes := changes_of(table)).name) is not None
        }
        self.datasets = {changes.name: datasets[name] for name, changes in self._changes.items()}
        """The dataset of each table of changes."""

    def changes_of(self, name: str) -> Table | None:
        """Return the table of the changes of a table, None if no stream of updates has fed it."""
        return self._changes.get(name)

    def findings(self, name: str) -> Iterator[Finding]:
        """Yield what is not merged into a table."""
        changes = self._changes[name]
        dataset = self.datasets[changes.name]
        path = f"{quote(self._warehouse.project)}.{quote(dataset)}"
        (row,) = self._warehouse.query(
            pending_query(self._tables[name], f"{path}.{quote(name)}", f"{path}.{quote(changes.name)}")
        )
        if row["n"]:
            yield Finding(Code.UPDATES_NOT_MERGED, f"{dataset}.{name}", "", "", row["n"])
