"""The ledger: read = written + duplicate + dead letter, for every table and every source of a run.

Counts are data that travels with the records: each step that takes records in or puts them through a door
emits what it counted, and `balance` adds it all up. `read` is counted upstream of decode; the doors are
counted from what was stored.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "Balance",
    "Count",
    "Door",
    "LetterFile",
    "RatioExceeded",
    "Shard",
    "Source",
    "SourceCounts",
    "State",
    "balance",
]

RATIO_FROM = 100
"""Records of a table from which on its share of dead letters is judged."""


class Door(enum.Enum):
    """Where a record was counted."""

    READ = "read"
    STAGED = "staged"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead_letter"


class State(enum.Enum):
    """How a run ended, or that it runs on without its launcher."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    LEDGER_BROKEN = "ledger_broken"
    TOO_MANY_DEAD_LETTERS = "too_many_dead_letters"


class Source(NamedTuple):
    """A file that the run has pinned; a line of the ledger even where it holds no record."""

    table: str
    uri: str
    generation: int
    size: int


class Count(NamedTuple):
    """So many records of one source at one door."""

    table: str
    source: str
    door: Door
    records: int


class Shard(NamedTuple):
    """A stored Parquet file of clean rows; `rows` by source, counted from the file."""

    table: str
    uri: str
    rows: tuple[tuple[str, int], ...]


class LetterFile(NamedTuple):
    """A stored file of dead letters; `rows` by (table, source, code), counted from the file."""

    uri: str
    rows: tuple[tuple[str, str, str, int], ...]


@dataclass(slots=True)
class SourceCounts:
    """The ledger of one source of one table."""

    generation: int = 0
    size: int = 0
    read: int = 0
    staged: int = 0
    duplicate: int = 0
    dead_letter_by_code: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def dead_letter(self) -> int:
        """Refused records."""
        return sum(self.dead_letter_by_code.values())

    @property
    def difference(self) -> int:
        """Records that were read and came through no door; negative where more came out than went in."""
        return self.read - self.staged - self.duplicate - self.dead_letter


class RatioExceeded(NamedTuple):
    """A table with more dead letters than allowed."""

    table: str
    dead_letter: int
    read: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What a run holds before anything is loaded: counts by table and source, files, and whether it may go on."""

    counts: Mapping[str, Mapping[str, SourceCounts]]
    shards: Mapping[str, tuple[Shard, ...]]
    letters: tuple[LetterFile, ...]
    broken: tuple[tuple[str, str, int], ...]
    """(table, source, difference) wherever the equation does not hold."""
    exceeded: tuple[RatioExceeded, ...]

    @property
    def state(self) -> State | None:
        """Why nothing may be loaded, None where all is well."""
        if self.broken:
            return State.LEDGER_BROKEN
        return State.TOO_MANY_DEAD_LETTERS if self.exceeded else None

    def explain(self) -> str:
        """The reason for `state` in one line."""
        if self.broken:
            parts = [f"{table} {source}: {difference:+d} records" for table, source, difference in self.broken[:5]]
            return f"the ledger does not hold, nothing is loaded (read minus doors): {'; '.join(parts)}"
        parts = [f"{table}: {dead} of {read}" for table, dead, read in self.exceeded]
        return f"too many dead letters, nothing is loaded: {'; '.join(parts)}"


def balance(items: Iterable[Source | Count | Shard | LetterFile], max_dead_letter_ratio: float) -> Balance:
    """Add up what the steps counted, and hold it against the equation and the limit."""
    counts: dict[str, dict[str, SourceCounts]] = defaultdict(lambda: defaultdict(SourceCounts))
    shards: dict[str, list[Shard]] = defaultdict(list)
    letters: list[LetterFile] = []
    for item in items:
        match item:
            case Source():
                line = counts[item.table][item.uri]
                line.generation, line.size = item.generation, item.size
            case Count(door=Door.READ):
                counts[item.table][item.source].read += item.records
            case Count():
                counts[item.table][item.source].duplicate += item.records
            case Shard():
                shards[item.table].append(item)
                for source, rows in item.rows:
                    counts[item.table][source].staged += rows
            case LetterFile():
                letters.append(item)
                for table, source, code, rows in item.rows:
                    if code != "duplicate":  # a copy for audit; its door is duplicate
                        counts[table][source].dead_letter_by_code[code] += rows
    plain = {
        table: {source: _plain(line) for source, line in sorted(lines.items())}
        for table, lines in sorted(counts.items())
    }
    broken = tuple(
        (table, source, line.difference)
        for table, lines in plain.items()
        for source, line in lines.items()
        if line.difference
    )
    exceeded = tuple(
        found for table, lines in plain.items() if (found := _exceeded(table, lines.values(), max_dead_letter_ratio))
    )
    return Balance(
        plain,
        {table: tuple(sorted(found)) for table, found in shards.items()},
        tuple(sorted(letters)),
        broken,
        exceeded,
    )


def _plain(line: SourceCounts) -> SourceCounts:
    line.dead_letter_by_code = dict(sorted(line.dead_letter_by_code.items()))
    return line


def _exceeded(table: str, lines: Iterable[SourceCounts], limit: float) -> RatioExceeded | None:
    read = dead = 0
    for line in lines:
        read += line.read
        dead += line.dead_letter
    return RatioExceeded(table, dead, read) if read >= RATIO_FROM and dead > limit * read else None
