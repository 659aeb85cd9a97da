"""The ledger: read = written + duplicate + dead letter, for every table and every source of a run.

Counts are elements of the graph: each step that reads records, or lets them leave by a door, emits what it counted,
and `balance` adds the counts up. `read` is counted upstream of decode; the doors are counted from stored files.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from transforms.tally import FileTally, Tally

__all__ = [
    "SHOWN_NAMES",
    "Balance",
    "Count",
    "DeadLetterFile",
    "Door",
    "FileColumns",
    "Item",
    "MissingColumns",
    "RatioExceeded",
    "Shard",
    "Source",
    "State",
    "balance",
]

SHOWN_NAMES = 30
RATIO_FROM = 100
"""The number of records from which on the ratio of dead letters of a table is checked."""


class Door(enum.Enum):
    """Where a Count was taken. The other doors are counted from stored files."""

    READ = "read"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"
    """Not a door: the record was split off but not decoded, because its run had too many dead letters already."""


class State(enum.Enum):
    """How a run ended, or that it continues without its launcher."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    LEDGER_BROKEN = "ledger_broken"
    TOO_MANY_DEAD_LETTERS = "too_many_dead_letters"
    QUALITY_BROKEN = "quality_broken"
    """All is loaded, and a quality rule of a contract is broken or cannot be checked."""


class Source(NamedTuple):
    """A file that the run has pinned. It has a line in the ledger even if it holds no record."""

    table: str
    uri: str
    generation: int
    size: int


class Count(NamedTuple):
    """A number of records of one source at one door."""

    table: str
    source: str
    door: Door
    records: int


class Shard(NamedTuple):
    """A stored Parquet file of clean rows; `rows` is (source, rows), counted from the file."""

    table: str
    uri: str
    rows: tuple[tuple[str, int], ...]


class DeadLetterFile(NamedTuple):
    """A stored file of dead letters; `rows` is (table, source, code, rows), counted from the file."""

    uri: str
    rows: tuple[tuple[str, str, str, int], ...]


class FileColumns(NamedTuple):
    """The names in a file's header, at most SHOWN_NAMES, and the contract's columns that match none of them."""

    table: str
    source: str
    names: tuple[str, ...]
    missing: tuple[str, ...]
    in_other_case: tuple[str, ...] = ()
    """Of the missing columns those whose keys in JSON are written in another case."""
    unknown: tuple[str, ...] = ()
    """Columns that the file has or has not: those that the inspected records of JSON lack."""


class MissingColumns(NamedTuple):
    """Columns of a contract that no file of the run has, and the names that the files have."""

    table: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    in_other_case: tuple[tuple[str, str], ...] = ()
    """Other columns that a file of JSON has in another case, so that they are null; each with the first such file."""


Item = Source | Count | Shard | DeadLetterFile | FileColumns
"""What `balance` adds up."""


class RatioExceeded(NamedTuple):
    """A table with more dead letters than allowed; `stopped` if its other records were not decoded."""

    table: str
    dead_letter: int
    read: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """What a run has stored before anything is loaded: counts by table and source, files, and whether it may load."""

    counts: Mapping[str, Mapping[str, FileTally]]
    shards: Mapping[str, tuple[Shard, ...]]
    dead_letter_files: tuple[DeadLetterFile, ...]
    broken: tuple[tuple[str, str, int], ...]
    """(table, source, difference) of each source that does not balance."""
    exceeded: tuple[RatioExceeded, ...]
    missing_columns: tuple[MissingColumns, ...] = ()

    @property
    def state(self) -> State | None:
        """Why nothing may be loaded; None if the run may load."""
        if self.broken:
            return State.LEDGER_BROKEN
        return State.TOO_MANY_DEAD_LETTERS if self.exceeded else None

    def explain(self) -> str:
        """The reason for `state` in one line."""
        if self.broken:
            parts = [f"{table} {source}: {difference:+d} records" for table, source, difference in self.broken[:5]]
            return f"the ledger does not balance, nothing is loaded (read minus doors): {'; '.join(parts)}"
        parts = [
            f"{table}: {dead_letters} of {'the first ' if stopped else ''}{read}"
            for table, dead_letters, read, stopped in self.exceeded
        ]
        return f"too many dead letters, nothing is loaded: {'; '.join(parts)}"


def balance(items: Iterable[Item], max_dead_letter_ratio: float) -> Balance:
    """Add up what the steps counted, and check the equation and the limit."""
    counts: dict[str, dict[str, FileTally]] = defaultdict(lambda: defaultdict(FileTally))
    shards: dict[str, list[Shard]] = defaultdict(list)
    dead_letter_files: list[DeadLetterFile] = []
    headers: list[FileColumns] = []
    stopped: set[str] = set()
    for item in items:
        match item:
            case Source():
                tally = counts[item.table][item.uri]
                tally.generation, tally.size = item.generation, item.size
            case FileColumns():
                headers.append(item)
            case Count(door=Door.READ):
                counts[item.table][item.source].read += item.records
            case Count(door=Door.SKIPPED):
                counts[item.table][item.source].read -= item.records
                stopped.add(item.table)
            case Count():
                counts[item.table][item.source].duplicate += item.records
            case Shard():
                shards[item.table].append(item)
                for source, rows in item.rows:
                    counts[item.table][source].written += rows
            case DeadLetterFile():
                dead_letter_files.append(item)
                for table, source, code, rows in item.rows:
                    if code != "duplicate":  # a copy for audit, counted at the duplicate door
                        counts[table][source].add(Tally(dead_letter_by_code={code: rows}))
    plain = {
        table: {source: _in_order_of_code(tally) for source, tally in sorted(sources.items())}
        for table, sources in sorted(counts.items())
    }
    return Balance(
        plain,
        {table: tuple(sorted(files)) for table, files in shards.items()},
        tuple(sorted(dead_letter_files)),
        tuple(
            (table, source, tally.difference)
            for table, sources in plain.items()
            for source, tally in sources.items()
            if tally.difference
        ),
        tuple(
            exceeded
            for table, sources in plain.items()
            if (exceeded := _exceeded(table, sources.values(), max_dead_letter_ratio, table in stopped))
        ),
        _missing_columns(headers, plain),
    )


def _missing_columns(
    headers: Iterable[FileColumns], counts: Mapping[str, Mapping[str, FileTally]]
) -> tuple[MissingColumns, ...]:
    """Return the columns of each table that no file has, and those that a file of JSON has in another case.

    If a file has records and none of them shows its columns, no column is certainly missing.
    """
    by_table: dict[str, list[FileColumns]] = defaultdict(list)
    for header in sorted(headers):
        by_table[header.table].append(header)
    missing_columns = []
    for table, headers_of_table in by_table.items():
        with_header = {header.source for header in headers_of_table}
        certain = all(source in with_header or not line.read for source, line in counts.get(table, {}).items())
        lacking = {column: header for header in reversed(headers_of_table) for column in header.missing}
        spelled = {column: header for header in reversed(headers_of_table) for column in header.in_other_case}
        columns = [
            column
            for column in lacking
            if certain and all(_lacks(header, column, column in spelled) for header in headers_of_table)
        ]
        others = [(column, header.source) for column, header in spelled.items() if column not in columns]
        names = sorted({name for header in headers_of_table for name in header.names})[:SHOWN_NAMES]
        if columns or others:
            missing_columns.append(MissingColumns(table, tuple(columns), tuple(names), tuple(others)))
    return tuple(missing_columns)


def _lacks(header: FileColumns, column: str, in_other_case: bool) -> bool:
    """Whether a file lacks a column. Of unknown ones so if some file has it in another case, which explains that."""
    return column in header.missing or (in_other_case and column in header.unknown)


def _in_order_of_code(tally: FileTally) -> FileTally:
    tally.dead_letter_by_code = dict(sorted(tally.dead_letter_by_code.items()))
    return tally


def _exceeded(table: str, sources: Iterable[FileTally], limit: float, stopped: bool) -> RatioExceeded | None:
    read = dead_letters = 0
    for counts in sources:
        read += counts.read
        dead_letters += counts.dead_letter
    exceeded = read >= RATIO_FROM and dead_letters > limit * read
    return RatioExceeded(table, dead_letters, read, stopped) if exceeded or stopped else None
