"""`generate`: raw files of the shop's tables, as dirty as asked for, and a manifest of what a batch run makes of them.

Every table is two files, `<table>.<ext>` with nine tenths of its rows and `<table>_2.<ext>.gz` with the rest; always
the same names, so that a second call leaves nothing of the first. The rules that the manifest counts by
are the contracts': what is clean, which of two records with one key is kept, and the dead letters' codes.
"""

from __future__ import annotations

import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from contracts.errors import UsageError
from sample_data.defects import CODES, LARGE, MALFORMED, broken_end, refused
from sample_data.forms import UNKNOWN, CsvForm, Form, JsonForm, awkward
from sample_data.shop import TABLES, RawTable, Row, Sizes

__all__ = ["generate"]

Progress = Callable[[str, int, int], None]
PROGRESS_EVERY = 20_000
AWKWARD = 0.1
"""Share of the clean rows that are written in an awkward form."""
BLANK = 0.005
"""Share of the clean records that a blank line follows."""
MOST_DIRTY = 0.5
AT_LEAST_EACH = 5
"""Records of every code in a format, however few records were asked for."""
AT_LEAST_DUPLICATES = 4


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the defects of one table go: the number of clean rows, and what precedes the clean row of an index."""

    clean: int
    split: int
    """The first clean row of the second file."""
    duplicates: dict[int, list[int]]
    """By the row that they precede, the earlier rows whose keys are repeated."""
    refused: dict[int, list[str]]
    """By the row that they precede, the codes of the refused."""
    broken_end: bool


def generate(
    *,
    write: Callable[[str, bytes], None],
    customers: int,
    products: int,
    transactions: int,
    events: int,
    dirty: float,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, object]:
    """Make the raw files, hand each to `write(name, data)`, and return the manifest.

    customers and transactions are CSV, products and user_events JSON lines. A table has as many records as asked
    for, `dirty` (0 to 0.5) of them defective, half of those refused and half duplicates. Where that share is too
    small to hold five records of each code in each format and a few duplicates, they come on top. With `dirty` 0
    nothing is refused and no key repeated; a table of 0 records has neither. The same arguments make the same files.

    `progress(table, done, of)` counts the rows of a table.

    The manifest: `{"seed": S, "tables": {table: {"files", "format", "read", "written", "duplicate", "dead_letter",
    "dead_letter_by_code": {code: n}}}}`, read = written + duplicate + dead_letter. Store it with the files
    as `manifest.json`, which is no table's file.

    Raises UsageError for a negative number or a share out of range.
    """
    sizes = Sizes(customers=customers, products=products, transactions=transactions, user_events=events)
    for option, number in (
        ("customers", customers),
        ("products", products),
        ("transactions", transactions),
        ("events", events),
    ):
        if number < 0:
            raise UsageError(f"--{option} {number}: give 0 or more records")
    if not 0 <= dirty <= MOST_DIRTY:
        raise UsageError(f"--dirty {dirty:g}: give a share of the records from 0 to {MOST_DIRTY}")
    # The large records and the five of each code are in one table of a format, the greater one if it has records.
    carriers = {"csv": "transactions" if transactions else "customers", "json": "user_events" if events else "products"}
    tables: dict[str, object] = {}
    for table in TABLES:
        rng = Random(f"{seed} {table.name}")
        plan = _plan(table, getattr(sizes, table.name), dirty, table.name == carriers[table.format], rng)
        tables[table.name] = _TableFiles(table, plan, sizes, rng, write, progress).make()
    return {"seed": seed, "tables": tables}


def _plan(table: RawTable, records: int, dirty: float, carrier: bool, rng: Random) -> _Plan:
    if not dirty or not records:
        return _Plan(records, records - records // 10, {}, {}, broken_end=False)
    defective = round(records * dirty)
    clean = records - defective
    split = clean - clean // 10
    codes = CODES[table.format]
    least = (AT_LEAST_EACH if carrier else 1) * len(codes)
    large = AT_LEAST_EACH if carrier else 0
    count = max(defective - defective // 2 - large, least)
    by_code = list(islice(cycle(codes), count))
    by_code.remove(MALFORMED[table.format])  # that one is the broken end of the first file
    refused_at: dict[int, list[str]] = defaultdict(list)
    for code in by_code:
        refused_at[rng.randrange(clean + 1)].append(code)
    for _ in range(large):
        refused_at[rng.randrange(split, clean + 1)].append(LARGE)
    duplicates: dict[int, list[int]] = defaultdict(list)
    for _ in range(max(defective // 2, AT_LEAST_DUPLICATES)):
        after = rng.randrange(1, clean + 1)
        # A quarter follows its first at once, the others lie anywhere behind it, in the other file too.
        duplicates[after].append(after - 1 if rng.random() < 0.25 else rng.randrange(after))
    return _Plan(clean, split, duplicates, refused_at, broken_end=True)


class _TableFiles:
    """The two files of one table, written row by row."""

    def __init__(
        self,
        table: RawTable,
        plan: _Plan,
        sizes: Sizes,
        rng: Random,
        write: Callable[[str, bytes], None],
        progress: Progress | None,
    ) -> None:
        self.table = table
        self.plan = plan
        self.rng = rng
        self.write = write
        self.progress = progress
        self.rows = table.rows(rng, sizes)
        self.forms = _forms(table, tuple(next(table.rows(Random(0), sizes))))
        self.duplicates = 0
        self.codes: Counter[str] = Counter()

    def make(self) -> dict[str, object]:
        """Write both files; the table's part of the manifest."""
        plan, table, rng, rows, progress = self.plan, self.table, self.rng, self.rows, self.progress
        repeated = {first for firsts in plan.duplicates.values() for first in firsts}
        kept: dict[int, Row] = {}
        key: object = None
        form = self.forms[0]
        encode, newline = form.encode, form.newline
        out = io.BytesIO()
        out.write(form.header())
        for index in range(plan.clean + 1):
            if index == plan.split:
                self._finish_first(out, form)
                form = self.forms[1]
                encode, newline = form.encode, form.newline
                out = io.BytesIO()
                out.write(form.header())
            for first in plan.duplicates.get(index, ()):
                out.write(encode(self._duplicate(kept[first])) + newline)
            for code in plan.refused.get(index, ()):
                out.write(self._refused(form, code, key) + newline)
            if index == plan.clean:
                break
            row = next(rows)
            if rng.random() < AWKWARD:
                row = awkward(table, row, rng)
                out.write(form.encode_awkward(row, rng) + newline)
                if rng.random() < BLANK / AWKWARD:
                    out.write(newline)
            else:
                out.write(encode(row) + newline)
            key = row[table.key]
            if index in repeated:
                kept[index] = row
            if progress and index % PROGRESS_EVERY == 0:
                progress(table.name, index, plan.clean)
        names = [f"{table.name}.{table.format}", f"{table.name}_2.{table.format}.gz"]
        self.write(names[1], gzip.compress(out.getvalue(), compresslevel=5, mtime=0))
        if progress:
            progress(table.name, plan.clean, plan.clean)
        dead_letters = sum(self.codes.values())
        return {
            "files": names,
            "format": table.format,
            "read": plan.clean + self.duplicates + dead_letters,
            "written": plan.clean,
            "duplicate": self.duplicates,
            "dead_letter": dead_letters,
            "dead_letter_by_code": dict(sorted(self.codes.items())),
        }

    def _duplicate(self, first: Row) -> Row:
        """The same row again, or two times in three another with its key (as text, even if it was a number)."""
        self.duplicates += 1
        if self.duplicates % 3 == 1:
            return first
        return next(self.rows) | {self.table.key: str(first[self.table.key])}

    def _refused(self, form: Form, code: str, key: object) -> bytes:
        """A refused record, in one of four cases with the key of a clean one, which it must not displace."""
        row = next(self.rows)
        if key is not None and self.rng.random() < 0.25:
            row[self.table.key] = key
        self.codes[code] += 1
        return refused(self.table.name, form, code, self.codes[code] - 1, row)

    def _finish_first(self, out: io.BytesIO, form: Form) -> None:
        """Hand over the first file: in a dirty table its last record is broken off. Some lack the last line's end."""
        if self.plan.broken_end:
            self.codes[MALFORMED[self.table.format]] += 1
            out.write(broken_end(form, next(self.rows)))
        elif self.plan.clean and self.table.name in ("transactions", "user_events"):
            out.truncate(out.tell() - len(form.newline))
        self.write(f"{self.table.name}.{self.table.format}", out.getvalue())


def _forms(table: RawTable, columns: tuple[str, ...]) -> tuple[Form, Form]:
    """How the two files are written: unlike each other, as files from two systems are.

    The first CSV file has a column that no contract names, the second another order, a BOM and a quoted header;
    one of the two, and the second JSON file, end their lines with CR LF.
    """
    if table.format == "json":
        return JsonForm(), JsonForm(newline=b"\r\n")
    windows = table.name == "customers"
    middle = len(columns) // 2
    return (
        CsvForm((*columns[:middle], UNKNOWN, *columns[middle:]), newline=b"\r\n" if windows else b"\n"),
        CsvForm(
            columns[middle:] + columns[:middle], newline=b"\n" if windows else b"\r\n", bom=True, quoted_header=True
        ),
    )
