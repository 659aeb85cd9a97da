"""Compare values: each record of a file, read again row by row, with the row or the dead letter that it became."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import LOADED
from connectors.files.names import InputFile, form_of
from connectors.files.storage import FileChanged
from contracts.classification import MASK
from contracts.lineage import HASH, INGESTED_AT, POSITION, RUN_ID, SOURCE
from contracts.masking import Masking
from contracts.refusal import ErrorCode
from contracts.schemas import EXTRA, quote, stored_columns
from contracts.table import Column, Kind, Table
from operations.reconcile.files import LoadedFiles
from operations.reconcile.findings import Code, Finding, letters_name
from operations.reconcile.lines import Line, qualified
from operations.reconcile.recomputed import Part, Recomputed
from operations.reconcile.sample import Sample
from operations.reconcile.stored import Ordered, letters_of, rows_of

__all__ = ["ValueComparison", "is_same"]

PLACES = (SOURCE, POSITION, RUN_ID, INGESTED_AT)
ROWS_A_QUERY, FILES_A_QUERY = 2_000_000, 1_000
"""BigQuery sorts the rows of at most this many files at once, or of one that has more."""
BEFORE, AFTER = timedelta(days=8), timedelta(days=1)
"""How long before and after its line a row may have been written, by clocks that differ."""
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class _Loaded:
    """A file that is as the runs in `lines`, the oldest first, have read it."""

    file: InputFile
    lines: Sequence[Line]

    @property
    def runs(self) -> set[str]:
        return {line.run for line in self.lines}


@dataclass
class ValueComparison:
    """Compares the values of `size` records of each table, or of all with None."""

    warehouse: Warehouse
    operations_dataset: str
    files: LoadedFiles
    size: int | None
    seed: int
    rows: int = 0
    """How many rows were compared."""
    letters: int = 0
    """How many dead letters were compared."""
    _found: dict[tuple[Code, str, str], Finding] = field(default_factory=dict)
    _times: Counter[tuple[Code, str, str]] = field(default_factory=Counter)

    def findings(
        self, lines: Sequence[Line], tables: Mapping[str, Table], datasets: Mapping[str, str]
    ) -> Iterator[Finding]:
        """Yield one finding for each file and column that differs, with the first record that does."""
        for name, table in sorted(tables.items()):
            loaded = self._loaded([line for line in lines if line.table == name])
            stored = self.warehouse.existing(datasets[name], name)
            if not loaded or stored is None:
                continue
            names = {each.name.casefold() for each in stored.schema}
            columns = [
                column
                for column in stored_columns(table)
                if column.name not in PLACES and column.name.casefold() in names
            ]
            sample = Sample.of(self.size, sum(each.lines[-1].read for each in loaded), self.seed)
            compared = _OfTable(self, table, datasets[name], columns, sample)
            for part in _in_parts(loaded):
                compared.compare(part)
                for about, finding in self._found.items():
                    yield replace(finding, count=self._times[about])
                self._found.clear()
                self._times.clear()

    def differs(self, column: str, finding: Finding) -> None:
        """Count a difference; the first of each file and column is kept."""
        about = finding.code, finding.source, column
        self._found.setdefault(about, finding)
        self._times[about] += 1

    def _loaded(self, lines: Sequence[Line]) -> list[_Loaded]:
        by_source: dict[str, list[Line]] = {}
        for line in lines:
            if line.kind == LOADED and line.pipeline == "batch" and form_of(line.source) is not None:
                by_source.setdefault(line.source, []).append(line)
        loaded = []
        for _, its in sorted(by_source.items()):
            file = self.files.unchanged(its[-1])
            if file is not None:
                loaded.append(_Loaded(file, [line for line in its if line.generation == file.generation]))
        return loaded


class _OfTable:
    """The comparison of one table."""

    def __init__(
        self, whole: ValueComparison, table: Table, dataset: str, columns: list[Column], sample: Sample
    ) -> None:
        self._whole, self._table, self._columns, self._sample = whole, table, columns, sample
        self._name = qualified(dataset, table.name)
        self._path = ".".join(map(quote, (whole.warehouse.project, dataset, table.name)))
        self._recomputed = Recomputed(whole.files.storage, table, columns, sample)
        self._masking = Masking(table)

    def compare(self, loaded: Sequence[_Loaded]) -> None:
        """Read the files, in order of source, and what the warehouse holds of them, side by side."""
        whole, sources = self._whole, [each.file.uri for each in loaded]
        times = [line.recorded_at for each in loaded for line in each.lines]
        runs = sorted({run for each in loaded for run in each.runs})
        written = min(times) - BEFORE, max(times) + AFTER
        rows = Ordered(
            rows_of(whole.warehouse, self._table, self._path, self._columns, self._sample, sources, runs, written)
        )
        letters = Ordered(letters_of(whole.warehouse, whole.operations_dataset, self._table, self._sample, sources))
        for each in loaded:
            try:
                for part in self._recomputed.parts(each.file, max(line.started_at for line in each.lines).date()):
                    self._compare_part(each, part, rows, letters, part.end)
                self._compare_part(each, Part(-1, {}, {}), rows, letters, None)
            except FileChanged:  # it is not the file of the ledger any more
                continue

    def _compare_part(self, of: _Loaded, part: Part, rows: Ordered, letters: Ordered, end: int | None) -> None:
        source = of.file.uri
        for row in rows.until(source, end):
            if row[RUN_ID] in of.runs:
                self._compare_row(source, row, part)
        held = set[int]()
        for letter in letters.until(source, end):
            held.add(letter[POSITION])
            self._compare_letter(of, letter, part)
        for position in part.refused.keys() - held:
            if part.refused[position] is not ErrorCode.RECORD_TOO_LARGE:
                self._letter(source, "", position, part.refused[position].value, "no dead letter")

    def _compare_row(self, source: str, row: Mapping[str, Any], part: Part) -> None:
        self._whole.rows += 1
        position, run = row[POSITION], row[RUN_ID]
        expected = part.rows.get(position)
        if expected is None:
            refused = part.refused.get(position)
            if refused is not ErrorCode.RECORD_TOO_LARGE:  # the limit of the run may have been another one
                said = f"dead letter {refused.value}" if refused else "no record there"
                self._row(source, run, position, POSITION, said, "a row")
            return
        for column in self._columns:
            if not is_same(column, expected[column.name], row[column.name]):
                sides = (
                    self._shown(column, value) for value in (_parsed(column, expected[column.name]), row[column.name])
                )
                self._row(source, run, position, column.name, *sides)

    def _compare_letter(self, of: _Loaded, letter: Mapping[str, Any], part: Part) -> None:
        """Letters of other contracts, of other versions of the file, and those that were sent again, are left out."""
        version = str(self._table.contract_version) if self._table.contract_version else None
        if letter["run_id"] not in of.runs or letter["replayed_by"] or letter["contract_version"] != version:
            return
        code, position = letter["error_code"], letter[POSITION]
        if code == ErrorCode.RECORD_TOO_LARGE.value:  # the limit of the run may have been another one
            return
        self._whole.letters += 1
        refused = part.refused.get(position)
        if refused is not None and refused.value != code:
            self._letter(of.file.uri, letter["run_id"], position, refused.value, code)
        elif refused is None and not (len(of.lines) > 1 and letter["field"] == self._table.partition):
            # a day that was too late for the run that refused the record is not for the last one
            expected = "a clean record" if position in part.rows else "no record there"
            self._letter(of.file.uri, letter["run_id"], position, expected, code)

    def _row(self, source: str, run: str, position: int, column: str, expected: str, found: str) -> None:
        finding = Finding(Code.VALUES_DIFFER, self._name, source, run, 1, expected, found, position, column)
        self._whole.differs(column, finding)

    def _letter(self, source: str, run: str, position: int, expected: str, found: str) -> None:
        name = letters_name(self._whole.operations_dataset, self._table.name)
        finding = Finding(Code.DEAD_LETTERS_DIFFER, name, source, run, 1, expected, found, position, "error_code")
        self._whole.differs(f"{expected} {found}", finding)

    def _shown(self, column: Column, value: Any) -> str:
        """Return a value as text, if it may be shown."""
        if value is None:
            return "NULL"
        if column.name == HASH and self._masking.hides:  # of few possible keys it tells which one it is
            return MASK
        shown = self._masking.row({column.name: value})[column.name]
        if isinstance(shown, Decimal):
            shown = format(shown.normalize(), "f")
        structured = isinstance(shown, (list, Mapping, bool))
        text = json.dumps(shown, default=str, ensure_ascii=False) if structured else str(shown)
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text):,} characters)"


def is_same(column: Column, expected: Any, found: Any, *, inside: bool = False) -> bool:
    """Return whether a computed value is the one that BigQuery returns; fields that no contract has do not count.

    The client parses JSON, but not `inside` of arrays and records.
    """
    if column.repeated:
        expected, found = expected or [], found or []
        return len(expected) == len(found) and all(
            is_same(column.element, *pair, inside=True) for pair in zip(expected, found, strict=True)
        )
    if expected is None or found is None:
        return expected is found
    if column.kind is Kind.RECORD:
        return all(is_same(inner, expected[inner.name], found.get(inner.name), inside=True) for inner in column.fields)
    if column.kind is Kind.JSON or column is EXTRA:
        return bool(json.loads(expected) == (json.loads(found) if inside else found))
    return bool(expected == found)


def _parsed(column: Column, expected: Any) -> Any:
    """Return a computed value as the client returns one: JSON at the top is parsed."""
    is_json = not column.repeated and (column.kind is Kind.JSON or column is EXTRA)
    return json.loads(expected) if is_json and expected is not None else expected


def _in_parts(loaded: Sequence[_Loaded]) -> Iterator[list[_Loaded]]:
    part: list[_Loaded] = []
    rows = 0
    for each in loaded:
        of_file = each.lines[-1].read
        if part and (rows + of_file > ROWS_A_QUERY or len(part) == FILES_A_QUERY):
            yield part
            part, rows = [], 0
        part.append(each)
        rows += of_file
    if part:
        yield part
