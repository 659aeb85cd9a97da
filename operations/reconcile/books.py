"""Compare the ledger with the tables and the dead letters. BigQuery counts; nothing but counts is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import LOADED, OFFSETS
from connectors.sinks.staging import STAGING_PREFIX
from contracts.schemas import any_partition, quote
from contracts.table import Table, WriteDisposition
from operations.reconcile.findings import Code, Finding
from operations.reconcile.lines import Line, Scope, line_sums, offset_gaps

__all__ = ["Books"]

_About: TypeAlias = tuple[str, str, str]
"""Table, source and run; the run is empty for all runs, and for a stream."""

EARLIER = timedelta(days=1)
"""How long before its line a row may have been written."""


class Books:
    """The books of one operations dataset, and the tables that they are about."""

    def __init__(
        self,
        warehouse: Warehouse,
        operations_dataset: str,
        tables: Mapping[str, Table],
        datasets: Mapping[str, str],
        scope: Scope,
    ) -> None:
        self._warehouse = warehouse
        self._operations = operations_dataset
        self._scope = scope
        chosen = {name: table for name, table in tables.items() if scope.table in (None, name)}
        self._tables = {
            name: table for name, table in chosen.items() if warehouse.existing(datasets[name], name) is not None
        }
        self._datasets = datasets
        self.lines = line_sums(warehouse, operations_dataset, scope)
        """The lines that are compared."""

    def findings(self) -> Iterator[Finding]:
        """Yield every contradiction, in the order of the codes."""
        for line in self.lines:
            if line.unbalanced:
                yield Finding(Code.LEDGER_UNBALANCED, _name(line), line.source, line.run, line.unbalanced)
        for gap in offset_gaps(self._warehouse, self._operations, self._scope):
            count = gap["last"] - gap["first"] + 1
            place = f"{gap['source']} from {gap['first']} to {gap['last']}"
            yield Finding(Code.OFFSETS_MISSING, _joined(gap["dataset"], gap["table"]), place, "", count)
        for name, table in self._tables.items():
            lines = [line for line in self.lines if line.table == name and line.dataset in (None, self._datasets[name])]
            yield from self._rows_of_batches(table, [line for line in lines if line.kind == LOADED])
            yield from self._rows_of_streams(table, [line for line in lines if line.kind == OFFSETS])
            yield from self._duplicate_keys(table)
        yield from self._letters()
        for table in self._tables.values():
            yield from self._records_twice(table)
        yield from self._staging()

    def _qualified(self, table: Table) -> str:
        return f"{self._datasets[table.name]}.{table.name}"

    def _from(self, table: Table, *conditions: str) -> str:
        path = ".".join(map(quote, (self._warehouse.project, self._datasets[table.name], table.name)))
        where = " AND ".join([*conditions, *any_partition(table)])
        return f"FROM {path}" + (f" WHERE {where}" if where else "")

    def _rows_of_batches(self, table: Table, lines: list[Line]) -> Iterator[Finding]:
        """Each run's rows of each source, against the run's line.

        A later run of a `merge` may have replaced rows of the earlier ones, and one of a `replace` has replaced all.
        """
        found = self._counted(table, "NOT STARTS_WITH(_source, 'kafka://')")
        runs = list(dict.fromkeys(line.run for line in lines))
        later = _written_later(lines, runs)
        for line in lines:
            rows = found.pop((line.run, line.source), 0)
            match table.disposition:
                case WriteDisposition.APPEND:
                    replaced = 0
                case WriteDisposition.MERGE:
                    replaced = later[line.run]
                case WriteDisposition.REPLACE:
                    replaced = 0 if line.run == runs[-1] else line.written
            missing = rows < line.written - replaced and table.partition_expiration_days is None
            if missing or rows > line.written:
                code = Code.ROWS_MISSING if missing else Code.ROWS_UNKNOWN
                yield self._difference(code, table, line.source, line.run, line.written, rows)
        for (run, source), rows in found.items():
            if self._scope.run in (None, run):
                yield self._difference(Code.ROWS_UNKNOWN, table, source, run, 0, rows)

    def _rows_of_streams(self, table: Table, lines: list[Line]) -> Iterator[Finding]:
        """The rows of each partition of a topic, against all lines about their offsets.

        A row may have been written by a run that was killed before its line: the line is then one of the next run.
        """
        if self._scope.run:
            return
        sources: dict[str, list[Line]] = {}
        for line in lines:
            sources.setdefault(line.source, []).append(line)
        for source, its in sources.items():
            if any(line.shared for line in its) or table.partition_expiration_days is not None:
                continue
            first = min(line.first_offset or 0 for line in its)
            last = max(line.last_offset or 0 for line in its)
            where = f"_source = @source AND _position BETWEEN {first} AND {last}"
            (row,) = self._warehouse.query(f"SELECT COUNT(*) AS n {self._from(table, where)}", source=source)
            written, rows = sum(line.written for line in its), int(row["n"])
            if rows != written:
                code = Code.ROWS_MISSING if rows < written else Code.ROWS_UNKNOWN
                yield self._difference(code, table, source, "", written, rows)

    def _counted(self, table: Table, condition: str) -> dict[tuple[str, str], int]:
        """Return the number of rows by run and source."""
        rows = self._warehouse.query(
            f"SELECT _run_id, _source, COUNT(*) AS n {self._from(table, '_ingested_at >= @since', condition)}"
            " GROUP BY 1, 2",
            since=self._scope.since,
        )
        return {(row["_run_id"], row["_source"]): int(row["n"]) for row in rows}

    def _difference(self, code: Code, table: Table, source: str, run: str, expected: int, found: int) -> Finding:
        return Finding(code, self._qualified(table), source, run, abs(expected - found), expected, found)

    def _duplicate_keys(self, table: Table) -> Iterator[Finding]:
        if not table.primary_key:
            return
        keys = ", ".join(map(quote, table.primary_key))
        (row,) = self._warehouse.query(
            f"SELECT COUNT(*) AS n, SUM(n) AS found FROM (SELECT COUNT(*) AS n {self._from(table)} GROUP BY {keys})"
            " WHERE n > 1"
        )
        if row["n"]:
            yield Finding(Code.DUPLICATE_KEYS, self._qualified(table), "", "", row["n"], row["n"], int(row["found"]))

    def _letters(self) -> Iterator[Finding]:
        """Dead letters by source. A run that reads a file again finds those of the run before, and stores none.

        A run of a batch stores no more of a source than its line says. Those of a stream may be stored by a run that
        was killed before its line: the line is then one of the next run.
        """
        if self._scope.run:
            return
        rows = self._warehouse.query(
            "SELECT `table`, source, run_id AS run, COUNT(*) AS n, COUNTIF(failed_at >= @since) AS recent"
            f" FROM `{self._warehouse.project}.{self._operations}.dead_letters` GROUP BY 1, 2, 3",
            since=self._scope.since,
        )
        stored, recent = Counter[_About](), Counter[_About]()
        for row in rows:
            if self._scope.table in (None, row["table"]):
                stored[row["table"], row["source"], ""] += row["n"]
                recent[_about(row["table"], row["source"], row["run"])] += row["recent"]
        most, known = Counter[_About](), Counter[_About]()
        for line in self.lines:
            if line.pipeline != "replay":
                known[_about(line.table, line.source, line.run)] += line.dead_letter
                about = line.table, line.source, ""
                most[about] = max(most[about], line.dead_letter) if line.kind == LOADED else known[about]
        for about in sorted({*most, *recent}):
            table, source, run = about
            if stored[about] < most[about]:
                yield self._letters_differ(Code.DEAD_LETTERS_MISSING, table, source, run, most[about], stored[about])
            elif recent[about] > known[about]:
                yield self._letters_differ(Code.DEAD_LETTERS_UNKNOWN, table, source, run, known[about], recent[about])

    def _letters_differ(self, code: Code, table: str, source: str, run: str, expected: int, found: int) -> Finding:
        name = f"{self._operations}.dead_letters of {table}"
        return Finding(code, name, source, run, abs(expected - found), expected, found)

    def _records_twice(self, table: Table) -> Iterator[Finding]:
        letters = f"`{self._warehouse.project}.{self._operations}.dead_letters`"
        rows = self._warehouse.query(
            f"SELECT letter.source, letter.run_id AS run, COUNT(*) AS n FROM {letters} AS letter JOIN"
            f" (SELECT _source, _position, _run_id {self._from(table, '_ingested_at >= @since')}) AS stored"
            " ON stored._source = letter.source AND stored._position = letter.position"
            " AND stored._run_id = letter.run_id WHERE letter.`table` = @name GROUP BY 1, 2",
            since=self._scope.since - EARLIER,
            name=table.name,
        )
        for row in rows:
            yield Finding(Code.RECORD_TWICE, self._qualified(table), row["source"], row["run"], row["n"])

    def _staging(self) -> Iterator[Finding]:
        """Staging tables while no run holds a lease: whose they are, their names do not say."""
        held = self._warehouse.query(
            f"SELECT COUNT(*) AS n FROM `{self._warehouse.project}.{self._operations}.leases` WHERE run_id IS NOT NULL"
        )
        if held[0]["n"] or self._scope.run or self._scope.table:
            return
        for dataset in sorted({*self._datasets.values(), self._operations}):
            if self._warehouse.check_dataset(dataset) is None:
                continue
            for name in self._warehouse.tables(dataset, STAGING_PREFIX):
                yield Finding(Code.STAGING_LEFT, f"{dataset}.{name}", "", "", 1)


def _name(line: Line) -> str:
    return _joined(line.dataset, line.table)


def _joined(dataset: str | None, table: str) -> str:
    return f"{dataset}.{table}" if dataset else table


def _about(table: str, source: str, run: str) -> _About:
    return table, source, "" if source.startswith("kafka://") else run


def _written_later(lines: Sequence[Line], runs: Sequence[str]) -> dict[str, int]:
    """Return for each run how many rows the runs after it have written: that many of its rows may be replaced."""
    written: Counter[str] = Counter()
    for line in lines:
        written[line.run] += line.written
    return {run: sum(written[other] for other in runs[number + 1 :]) for number, run in enumerate(runs)}
