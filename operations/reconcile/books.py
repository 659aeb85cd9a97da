"""Compare the ledger with the tables and the dead letters. BigQuery counts; nothing but counts is read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LOADED, OFFSETS, STAGED
from connectors.sinks.staging import STAGING_PREFIX
from contracts.bookkeeping import DEAD_LETTERS, LEDGER
from contracts.refusal import ErrorCode
from contracts.schemas import any_partition, quote
from contracts.table import Table, WriteDisposition
from operations.reconcile.copies import Copies
from operations.reconcile.findings import Code, Finding, letters_name
from operations.reconcile.lines import Line, line_sums, offset_gaps, qualified
from operations.reconcile.replaced import written_again, written_later
from operations.reconcile.updates import RECENT_CHANGES, Updates

__all__ = ["Books"]

_About: TypeAlias = tuple[str, str, str]
"""Table, source and run; the run is empty for all runs, and for a stream."""

EARLIER = timedelta(days=8)
"""How long before its line a row may have been written: a stream that was down reads again what Kafka keeps, a week."""
STAGING = re.compile(rf"{STAGING_PREFIX}[0-9a-f]{{12}}_.+")


class Books:
    """The books of one operations dataset since a time, and the tables that they are about."""

    def __init__(
        self,
        warehouse: Warehouse,
        operations_dataset: str,
        tables: Mapping[str, Table],
        datasets: Mapping[str, str],
        since: datetime,
    ) -> None:
        """`tables` and `datasets`, both by name, are what is compared."""
        self._warehouse = warehouse
        self._operations = operations_dataset
        self._tables = tables
        self._updates = Updates(warehouse, tables, datasets)
        self._datasets = {**datasets, **self._updates.datasets}
        self._since = since
        self._holders = Leases(warehouse, operations_dataset).holders()
        self._active = {holder.run_id for holder in self._holders}
        """Runs that write now: their rows may be there before their lines, which are read after the leases."""
        self._all = line_sums(warehouse, operations_dataset, since)
        self.lines = [line for line in self._all if line.kind != STAGED and self._is_compared(line)]
        """The lines that are compared."""
        self.elsewhere = sorted({line.name for line in self._all if not self._is_compared(line)})
        """Tables with lines that are not compared: of another dataset, or without a contract."""

    def _is_compared(self, line: Line) -> bool:
        return line.table in self._tables and line.dataset in (None, self._datasets[line.table])

    @property
    def estimated(self) -> list[str]:
        """The partitions of topics whose rows are not counted: some of their lines are shares of others."""
        return sorted({line.source for line in self.lines if line.shared})

    def is_fed_by_updates(self, name: str) -> bool:
        """Whether a stream of updates has written into a table."""
        return self._updates.changes_of(name) is not None

    def findings(self) -> Iterator[Finding]:
        """Yield every contradiction."""
        for line in self.lines:
            if line.unbalanced:
                yield Finding(Code.LEDGER_UNBALANCED, line.name, line.source, line.run, line.unbalanced)
        yield from self._doubled_lines()
        yield from self._offsets()
        for name, table in self._tables.items():
            lines = [line for line in self.lines if line.table == name]
            if self._warehouse.existing(self._datasets[name], name) is None:
                yield from self._rows_of_no_table(lines)
                continue
            changes = self._updates.changes_of(name)
            yield from self._rows_of_batches(table, [line for line in lines if line.kind == LOADED])
            if changes is None:
                yield from self._rows_of_streams(table, [line for line in lines if line.kind == OFFSETS])
            else:
                yield from self._rows_of_streams(changes, self._recent(name))
                if not self._is_fed(changes.name, name):
                    yield from self._updates.findings(name)
            yield from self._duplicate_keys(table)
            yield from self._records_twice(table)
        yield from self._letters()
        yield from self._staging()

    def _doubled_lines(self) -> Iterator[Finding]:
        placed = {name: self._datasets[name] for name in self._tables}
        for row in Copies.of_lines(placed, self._path(LEDGER.name), self._since).found(self._warehouse):
            name = qualified(placed[row["table"]], row["table"])
            yield Finding(Code.LEDGER_DOUBLED, name, row["source"], row["run_id"], row["copies"])

    def _is_fed(self, *names: str) -> bool:
        """Whether a run that is active writes one of these tables."""
        return not {f"{self._datasets[name]}.{name}" for name in names}.isdisjoint(
            holder.table for holder in self._holders
        )

    def _recent(self, name: str) -> list[Line]:
        """The lines about offsets of a table whose changes are all kept."""
        since = max(self._since, datetime.now(UTC) - RECENT_CHANGES)
        lines = self.lines if since == self._since else line_sums(self._warehouse, self._operations, since)
        return [line for line in lines if line.table == name and line.kind == OFFSETS and self._is_compared(line)]

    def _offsets(self) -> Iterator[Finding]:
        for gap in offset_gaps(self._warehouse, self._operations, self._since):
            name, dataset = gap["table"], gap["dataset"]
            if name in self._tables and dataset in (None, self._datasets[name]):
                place = f"{gap['source']} from {gap['first']} to {gap['last']}"
                count = gap["last"] - gap["first"] + 1
                yield Finding(Code.OFFSETS_MISSING, qualified(dataset, name), place, "", count)

    def _from(self, table: Table, *conditions: str) -> str:
        path = ".".join(map(quote, (self._warehouse.project, self._datasets[table.name], table.name)))
        where = " AND ".join([*conditions, *any_partition(table)])
        return f"FROM {path}" + (f" WHERE {where}" if where else "")

    def _rows_of_no_table(self, lines: Sequence[Line]) -> Iterator[Finding]:
        """The table was dropped: all that was written is missing."""
        for line in lines:
            if line.written:
                yield _difference(Code.ROWS_MISSING, line.name, line.source, line.run, line.written, 0)

    def _rows_of_batches(self, table: Table, lines: Sequence[Line]) -> Iterator[Finding]:
        """Each run's rows of each source, against the run's line.

        A later run of a `merge` may have replaced rows of the earlier ones, and one of a `replace` has replaced all.
        What a later run of an `append` has written of the same file was not there before: it was lost, and is back.
        """
        rows = self._warehouse.query(
            "SELECT _run_id AS run, _source AS source, COUNT(*) AS n, COUNTIF(_ingested_at >= @since) AS recent"
            f" {self._from(table, '_ingested_at >= @earlier', _OF_FILES)} GROUP BY 1, 2",
            since=self._since,
            earlier=self._since - EARLIER,
        )
        found = {(row["run"], row["source"]): row for row in rows}
        name = qualified(self._datasets[table.name], table.name)
        runs = list(dict.fromkeys(line.run for line in lines))
        later, again = written_later(lines, runs), written_again(lines)
        for line in lines:
            stored = found.pop((line.run, line.source), {"n": 0})["n"]
            replaced = 0
            if self._updates.changes_of(table.name):
                replaced = line.written  # a stream may have updated or deleted any of them
            elif table.disposition is WriteDisposition.MERGE:
                replaced = later[line.run]
            elif table.disposition is WriteDisposition.REPLACE and line.run != runs[-1]:
                replaced = line.written
            elif table.disposition is WriteDisposition.APPEND:
                replaced = again[line.run, line.source]
            if stored < line.written - replaced and table.partition_expiration_days is None:
                yield _difference(Code.ROWS_MISSING, name, line.source, line.run, line.written, stored)
            elif stored > line.written:
                yield _difference(Code.ROWS_UNKNOWN, name, line.source, line.run, line.written, stored)
        for (run, source), row in found.items():
            if row["recent"] and run not in self._active:
                yield _difference(Code.ROWS_UNKNOWN, name, source, run, 0, row["n"])

    def _rows_of_streams(self, table: Table, lines: Sequence[Line]) -> Iterator[Finding]:
        """The rows of each partition of a topic, against all lines about their offsets.

        A row may have been written by a run that was killed before its line: the line is then one of the next run.
        """
        if table.partition_expiration_days is not None:
            return
        estimated, by_source = set(self.estimated), dict[str, list[Line]]()
        for line in lines:
            if line.source not in estimated:
                by_source.setdefault(line.source, []).append(line)
        if not by_source:
            return
        covered = " OR ".join(
            f"(_source = {json.dumps(source)} AND _position BETWEEN {min(line.first_offset or 0 for line in its)}"
            f" AND {max(line.last_offset or 0 for line in its)})"
            for source, its in by_source.items()
        )
        rows = self._warehouse.query(
            "SELECT _source AS source, COUNT(*) AS n"
            f" {self._from(table, f'({covered})', '_ingested_at >= @earlier')} GROUP BY 1",
            earlier=self._since - EARLIER,
        )
        stored = {row["source"]: row["n"] for row in rows}
        for source, its in sorted(by_source.items()):
            found, written = stored.get(source, 0), sum(line.written for line in its)
            if found != written:
                code = Code.ROWS_MISSING if found < written else Code.ROWS_UNKNOWN
                yield _difference(code, its[0].name, source, "", written, found)

    def _duplicate_keys(self, table: Table) -> Iterator[Finding]:
        if not table.primary_key:
            return
        keys = ", ".join(map(quote, table.primary_key))
        (row,) = self._warehouse.query(
            f"SELECT COUNT(*) AS n, SUM(n) AS found FROM (SELECT COUNT(*) AS n {self._from(table)} GROUP BY {keys})"
            " WHERE n > 1"
        )
        if row["n"]:
            name = qualified(self._datasets[table.name], table.name)
            yield Finding(Code.DUPLICATE_KEYS, name, "", "", row["n"], row["n"], int(row["found"]))

    def _records_twice(self, table: Table) -> Iterator[Finding]:
        rows = self._warehouse.query(
            "SELECT letter.source, letter.run_id AS run, COUNT(*) AS n"
            f" FROM {self._path(DEAD_LETTERS.name)} AS letter JOIN"
            f" (SELECT _source, _position, _run_id {self._from(table, '_ingested_at >= @earlier')}) AS stored"
            " ON stored._source = letter.source AND stored._position = letter.position"
            " AND stored._run_id = letter.run_id WHERE letter.`table` = @name GROUP BY 1, 2",
            earlier=self._since - EARLIER,
            name=table.name,
        )
        for row in rows:
            name = qualified(self._datasets[table.name], table.name)
            yield Finding(Code.RECORD_TWICE, name, row["source"], row["run"], row["n"])

    def _letters(self) -> Iterator[Finding]:
        """Dead letters by source: of all datasets, which they do not name.

        A run that reads a file again finds those of the run before, and stores none. A run of a batch stores no more of
        a source than its line says, also if it then loads nothing. Those of a stream may be stored by a run that was
        killed before its line: the line is then one of the next run.
        """
        rows = self._warehouse.query(
            "SELECT `table`, source, run_id AS run, COUNT(*) AS n, COUNTIF(failed_at >= @since) AS recent"
            f" FROM {self._path(DEAD_LETTERS.name)} WHERE error_code != '{ErrorCode.DUPLICATE.value}' GROUP BY 1, 2, 3",
            since=self._since,
        )
        stored, recent = Counter[_About](), Counter[_About]()
        for row in rows:
            if row["table"] in self._tables:
                stored[row["table"], row["source"], ""] += row["n"]
                if row["run"] not in self._active:
                    recent[_about(row["table"], row["source"], row["run"])] += row["recent"]
        known, most = self._counted_letters()
        for about in sorted({*most, *recent}):
            table, source, run = about
            name = letters_name(self._operations, table)
            if stored[about] < most[about]:
                yield _difference(Code.DEAD_LETTERS_MISSING, name, source, run, most[about], stored[about])
            elif recent[about] > known[about]:
                yield _difference(Code.DEAD_LETTERS_UNKNOWN, name, source, run, known[about], recent[about])

    def _counted_letters(self) -> tuple[Counter[_About], Counter[_About]]:
        """Return how many dead letters there may be of each source and run, and how many there must be of a source."""
        by_line: dict[tuple[str | None, _About], int] = {}
        most = Counter[_About]()
        for line in self._all:
            if line.pipeline == "replay" or line.table not in self._tables:
                continue
            place = line.dataset, _about(line.table, line.source, line.run)
            of_source = line.table, line.source, ""
            if line.kind == OFFSETS:
                most[of_source] += line.dead_letter
                by_line[place] = by_line.get(place, 0) + line.dead_letter
                continue
            most[of_source] = max(most[of_source], line.dead_letter)
            if line.kind == LOADED:
                by_line[place] = line.dead_letter
            else:  # staged, after its dead letters are stored: it counts for a run that then loads nothing
                by_line.setdefault(place, line.dead_letter)
        known = Counter[_About]()
        for (_, about), letters in by_line.items():
            known[about] += letters
        return known, most

    def _path(self, name: str) -> str:
        return f"`{self._warehouse.project}.{self._operations}.{name}`"

    def _staging(self) -> Iterator[Finding]:
        """Staging tables while no run is active: whose they are, their names do not say."""
        if self._active:
            return
        for dataset in sorted({*self._datasets.values(), self._operations}):
            if self._warehouse.check_dataset(dataset) is not None:
                for name in filter(STAGING.fullmatch, self._warehouse.tables(dataset, STAGING_PREFIX)):
                    yield Finding(Code.STAGING_LEFT, f"{dataset}.{name}", "", "", 1)


_OF_FILES = "NOT STARTS_WITH(_source, 'kafka://')"


def _about(table: str, source: str, run: str) -> _About:
    return table, source, "" if source.startswith("kafka://") else run


def _difference(code: Code, name: str, source: str, run: str, expected: int, found: int) -> Finding:
    return Finding(code, name, source, run, abs(expected - found), expected, found)
