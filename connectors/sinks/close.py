"""The end of a batch: what failed attempts left is deleted, the last line is written, the leases are released."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
from google.api_core.exceptions import NotFound

from connectors.files.storage import Storage
from connectors.sinks.attempt import RunStopped, is_done
from connectors.sinks.destination import Destination
from connectors.sinks.parquet import run_folder
from connectors.sinks.quality import Partitions, recorded_rules
from connectors.sinks.staging import staging_prefix
from transforms.ledger import State

__all__ = ["CloseRun", "LoadedTable"]


class LoadedTable(NamedTuple):
    """One table's part of a run that is in the warehouse: its files and the jobs that loaded them.

    `balanced` is False if the table does not hold what was staged. `partitions` are known if the table has rules.
    """

    table: str
    shards: tuple[str, ...]
    dead_letter_files: tuple[str, ...]
    jobs: tuple[str, ...]
    balanced: bool
    partitions: Partitions = None


class CloseRun(beam.DoFn):
    """All LoadedTable of a run -> its run id.

    Writes the run's last line, deletes what failed attempts left behind, and releases the leases.
    """

    def __init__(self, destination: Destination, storage: Storage) -> None:
        self._to = destination
        self._storage = storage

    def process(self, element: tuple[None, Iterable[LoadedTable]]) -> Iterator[str]:
        to, run = self._to, self._to.run
        tables = sorted(element[1])
        names = [to.qualified(loaded.table) for loaded in tables]
        if not to.leases.held(names, run.token):
            if not is_done(to, State.DONE, State.QUALITY_BROKEN):
                raise RunStopped(f"another attempt of run {run.run_id}, or another run, has taken its tables")
            yield run.run_id
            return
        for name in to.warehouse.tables(run.operations_dataset, staging_prefix(run.run_id, to.datasets.values())):
            to.warehouse.drop(run.operations_dataset, name)
        for loaded in tables:
            self._sweep(run_folder(run.processed, loaded.table, run.run_id), loaded.shards)
            self._sweep(run_folder(run.dead_letters, loaded.table, run.run_id), loaded.dead_letter_files)
        detail = {
            "processed": [uri for loaded in tables for uri in loaded.shards],
            "dead_letters": sorted({uri for loaded in tables for uri in loaded.dead_letter_files}),
            "tables": names,
            "jobs": [job for loaded in tables for job in loaded.jobs],
        }
        unbalanced = [loaded.table for loaded in tables if not loaded.balanced]
        if unbalanced:
            why = f"the warehouse's count of touched rows differs from the rows it holds: {', '.join(unbalanced)}"
            to.ledger.record_end(run, State.LEDGER_BROKEN, {**detail, "why": why})
            raise RunStopped(why)
        broken = recorded_rules(to, {loaded.table: loaded.partitions for loaded in tables})
        end = {**detail, "why": f"quality rules are broken: {broken}"} if broken else detail
        to.ledger.record_end(run, State.QUALITY_BROKEN if broken else State.DONE, end)
        to.leases.release(names, run.token, finished=True)
        yield run.run_id

    def _sweep(self, folder: str, keep: tuple[str, ...]) -> None:
        """Delete the run's files in `folder` that are not in `keep`."""
        for file in _listed(self._storage, folder):
            if file not in keep:
                self._storage.delete(file)


def _listed(storage: Storage, folder: str) -> list[str]:
    try:
        return [file.uri for file in storage.list(folder)]
    except NotFound:
        return []
