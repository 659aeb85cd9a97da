"""What `reconcile` finds: where the books, the tables and the files contradict each other."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Code", "Finding", "letters_name"]


class Code(enum.Enum):
    """The kind of a contradiction. The codes are stable."""

    LEDGER_UNBALANCED = "ledger_unbalanced"
    """A line of the ledger where read is not written + duplicate + dead_letter."""
    LEDGER_DOUBLED = "ledger_doubled"
    """A line of a batch is there more than once. It counts once, as everywhere."""
    OFFSETS_MISSING = "offsets_missing"
    """Offsets of a topic between others that no line of the ledger covers."""
    ROWS_MISSING = "rows_missing"
    """A table holds fewer rows of a source than the ledger says."""
    ROWS_UNKNOWN = "rows_unknown"
    """A table holds more rows of a source than the ledger says, or rows of a source that it does not know."""
    DUPLICATE_KEYS = "duplicate_keys"
    """A table holds a primary key more than once."""
    DEAD_LETTERS_MISSING = "dead_letters_missing"
    """Fewer dead letters of a source are stored than the ledger says."""
    DEAD_LETTERS_UNKNOWN = "dead_letters_unknown"
    """More dead letters of a source are stored than the ledger says."""
    RECORD_TWICE = "record_twice"
    """A run has stored a record as a row and as a dead letter."""
    FILE_DIFFERS = "file_differs"
    """A file holds another number of records than the ledger says that were read."""
    VALUES_DIFFER = "values_differ"
    """A row differs from the record of its file."""
    DEAD_LETTERS_DIFFER = "dead_letters_differ"
    """A record of a file is refused for another reason than its dead letter says, or has none, or is clean."""
    TOPIC_DIFFERS = "topic_differs"
    """A partition of a topic holds another number of records than the ledger says that were read."""
    UPDATES_NOT_MERGED = "updates_not_merged"
    """A table differs from the newest changes of its keys, and no stream is running that would merge them."""
    STAGING_LEFT = "staging_left"
    """A staging table that no run needs any more."""


FIXES = {
    Code.LEDGER_UNBALANCED: "restore the ledger (FOR SYSTEM_TIME AS OF): no run writes such a line",
    Code.LEDGER_DOUBLED: "drop the copy (--repair)",
    Code.OFFSETS_MISSING: "set the group back to the first of them and start the stream: it adds what is missing",
    Code.ROWS_MISSING: "restore the rows (FOR SYSTEM_TIME AS OF), or load an unchanged file again (--repair)",
    Code.ROWS_UNKNOWN: "continue the run if it was killed (--run_id), drop copies (--repair), delete what no run wrote",
    Code.DUPLICATE_KEYS: "drop copies (--repair), or delete all but one row of each key",
    Code.DEAD_LETTERS_MISSING: "restore them (FOR SYSTEM_TIME AS OF), or load an unchanged file again (--repair)",
    Code.DEAD_LETTERS_UNKNOWN: "continue the run if it was killed (--run_id), or drop copies (--repair)",
    Code.RECORD_TWICE: "delete the dead letter if the row is right",
    Code.FILE_DIFFERS: "load the file again, and compare",
    Code.VALUES_DIFFER: "restore the rows (FOR SYSTEM_TIME AS OF), unless the contract has changed since",
    Code.DEAD_LETTERS_DIFFER: "restore the dead letters (FOR SYSTEM_TIME AS OF), unless the contract has changed since",
    Code.TOPIC_DIFFERS: "set the group back to the first of the lines and start the stream: it adds what is missing",
    Code.UPDATES_NOT_MERGED: "start the stream: it merges all changes when it starts to, and when it ends",
    Code.STAGING_LEFT: "continue the run (--run_id), or drop it (--repair); BigQuery does so after a day",
}
"""What helps."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction: `expected` and `found` are what the two sides say, `count` how many things are concerned.

    Of values there is one for each file and column: `expected` and `found` are those of the first record.
    """

    code: Code
    table: str
    """Dataset and name."""
    source: str
    """URI of the file, or kafka://topic/partition; empty if it is about the whole table."""
    run: str
    count: int
    expected: int | str | None = None
    """A number of things, or a value as text, with `***` for one that is masked."""
    found: int | str | None = None
    position: int | None = None
    """Of values: where in the source the first record is that differs."""
    column: str = ""
    """Of values: in which column of it."""

    @property
    def about(self) -> tuple[Code, str, str, str]:
        """What is the same if the contradiction is found again."""
        return self.code, self.table, self.source, self.run

    @property
    def fix(self) -> str:
        """What helps, in one line."""
        return FIXES[self.code]

    def row(self) -> dict[str, str | int | None]:
        """What a program gets."""
        return {
            "code": self.code.value,
            "table": self.table,
            "source": self.source,
            "run": self.run,
            "position": self.position,
            "column": self.column,
            "count": self.count,
            "expected": self.expected,
            "found": self.found,
            "fix": self.fix,
        }


def letters_name(operations_dataset: str, table: str) -> str:
    """Return how a finding names the dead letters of a table."""
    return f"{operations_dataset}.dead_letters of {table}"
