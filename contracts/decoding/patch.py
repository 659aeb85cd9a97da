"""A patch: SQL expressions that correct fields of refused records before they are decoded again.

Each field is text as it stands in the record, whatever its format: a number keeps its digits, an object is its JSON. So
an expression means the same for CSV and JSON, and CAST makes a number where one is needed. All expressions see the
unpatched record. What a patch does not change keeps its bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from contracts.bisect import bisect
from contracts.decoding.csv_rows import CsvHeader, parse_row
from contracts.decoding.decoder import Block
from contracts.decoding.derived_columns import first_line
from contracts.decoding.json_text import Number, parse_json
from contracts.refusal import MAX_STORED_BYTES, ErrorCode, NotClean, Refusal
from contracts.table import CsvDialect

__all__ = ["Assignment", "Change", "Patch", "Patched"]

Path = tuple[str, ...]
ROW, RESULT = "row ", "result "
"""Columns next to the fields: the names of fields in `sql` have no blank at their end."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One expression of a patch. `sql` names the field with path `fields[name]` by the column `name`."""

    text: str
    """As given: `amount = replace(amount, ',', '.')`."""
    target: Path
    """Path of the field that takes the value."""
    column: str
    """The column of the table that reads the field, in messages."""
    sql: str
    fields: Mapping[str, Path]
    required: frozenset[str]
    """Names of fields that no column reads: a record without one is refused, because the name may be a mistake."""


class Change(NamedTuple):
    """A field before and after a patch, as text; None is null or missing."""

    position: int
    column: str
    before: str | None
    after: str | None


class Patched(NamedTuple):
    """A block after a patch: its refusals include the records to which the patch cannot be applied."""

    block: Block
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Patch:
    """The expressions of a patch, for the records of one table."""

    assignments: tuple[Assignment, ...]

    def texts(self) -> list[str]:
        """Return the expressions as they were given."""
        return [assignment.text for assignment in self.assignments]

    def apply(self, block: Block, max_record_bytes: int) -> Patched:
        """Return the block with patched records, and what has changed.

        A record that cannot be parsed, or for which an expression fails, becomes a refusal.
        """
        header = self._header(block)
        problems: dict[int, NotClean] = {}
        records: dict[int, dict[str, Any]] = {}
        for index, raw in enumerate(block.records):
            try:
                records[index] = self._parsed(raw, block.header)
            except NotClean as problem:
                problems[index] = problem
        changes: dict[int, list[Change]] = {index: [] for index in records}
        values = [self._values(assignment, records, problems) for assignment in self.assignments]
        written: dict[int, bytes] = {}
        for index in records.keys() - problems.keys():
            try:
                for assignment, results in zip(self.assignments, values, strict=True):
                    if change := _put(records[index], assignment, results[index], header):
                        changes[index].append(change._replace(position=int(block.positions[index])))
                as_it_was = not changes[index] and header is block.header
                written[index] = block.records[index] if as_it_was else _written(records[index], header)
                if (size := len(written[index])) > max_record_bytes:
                    message = f"the patched record has {size} bytes; the limit is {max_record_bytes}"
                    raise NotClean(ErrorCode.RECORD_TOO_LARGE, message)
            except NotClean as problem:
                problems[index] = problem
        patched = [index for index in range(len(block.records)) if index not in problems]
        refused = [_refusal(block, index, problem) for index, problem in sorted(problems.items())]
        return Patched(
            Block(
                block.source,
                block.format,
                [written[index] for index in patched],
                block.positions[np.array(patched, dtype=np.int64)],
                header,
                (*block.refusals, *refused),
            ),
            [change for index in patched for change in changes[index]],
        )

    def _header(self, block: Block) -> CsvHeader | None:
        """Return the header with the columns that the patch adds to a file."""
        header = block.header
        if header is None or header.problem or not header.names:
            return header
        added = [each.target[0] for each in self.assignments if each.target[0] not in header.names]
        if not added:
            return header
        names = (*header.names, *added)
        return CsvHeader(_csv_line(names, header.dialect), names, header.dialect)

    def _parsed(self, raw: bytes, header: CsvHeader | None) -> dict[str, Any]:
        if header is not None:
            record: object = parse_row(raw, header)
        else:
            try:
                record = parse_json(raw.decode())
            except UnicodeDecodeError as error:
                message = f"byte {error.start} of the record is not UTF-8"
                raise NotClean(ErrorCode.INVALID_ENCODING, message) from None
        if not isinstance(record, Mapping):
            raise NotClean(ErrorCode.MALFORMED_JSON, "the record is not a JSON object")
        for assignment in self.assignments:
            for name in sorted(assignment.required):
                if not _has(record, assignment.fields[name]):
                    message = f"the patch reads {name}, which neither the contract nor the record has"
                    raise NotClean(ErrorCode.INVALID_VALUE, message, assignment.column)
        return dict(record)

    def _values(
        self, assignment: Assignment, records: Mapping[int, Mapping[str, Any]], problems: dict[int, NotClean]
    ) -> dict[int, object]:
        """Return the value for each record, by index; add those for which there is none to `problems`."""
        expression = pl.sql_expr(assignment.sql)

        def computed(indices: Sequence[int]) -> list[tuple[int, object]]:
            columns = {
                name: pl.Series([_text(_value(records[index], path)) for index in indices], dtype=pl.String)
                for name, path in assignment.fields.items()
            }
            frame = pl.DataFrame({**columns, ROW: range(len(indices))})
            results = frame.select(ROW, expression.alias(RESULT))[RESULT]
            return list(zip(indices, _results(results), strict=True))

        parts, failures = bisect(list(records), computed)
        for index, error in failures:
            message = f"{assignment.column}: the patch cannot be computed ({first_line(error)})"
            problems.setdefault(index, NotClean(ErrorCode.INVALID_VALUE, message, assignment.column))
        return {index: value for part in parts for index, value in part}


def _results(values: pl.Series) -> list[object]:
    """Return results as values of parse_json. Raises ValueError for a number that JSON has not."""
    kind = values.dtype
    if kind.is_float() and values.is_finite().all() is False:
        raise ValueError("the result is not a finite number")
    if kind.is_numeric():
        return [None if value is None else Number(_number(value)) for value in values.to_list()]
    return (values if kind == pl.Boolean else values.cast(pl.String)).to_list()


def _number(value: int | float | Decimal) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _value(record: object, path: Path) -> Any:
    for step in path:
        record = record.get(step) if isinstance(record, Mapping) else None
    return record


def _has(record: object, path: Path) -> bool:
    for step in path:
        if not isinstance(record, Mapping) or step not in record:
            return False
        record = record[step]
    return True


def _text(value: object) -> str | None:
    """Return a value as an expression sees it, and as a dry run shows it."""
    return value if value is None or isinstance(value, str) else _json(value)


def _put(record: dict[str, Any], assignment: Assignment, new: object, header: CsvHeader | None) -> Change | None:
    """Put a value into a record, unless it has it already. Raises NotClean if there is no place for it."""
    target, column = assignment.target, assignment.column
    before, after = _text(_value(record, target)), _text(new)
    if before == after:
        return None
    if header is not None and len(target) > 1:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{column}: a CSV record has no field in another one", column)
    within = record
    for step in target[:-1]:
        inner = within.get(step)
        if not isinstance(inner, Mapping) and inner is not None:
            raise NotClean(ErrorCode.INVALID_VALUE, f"{column}: {step} of the record is not an object", column)
        within[step] = dict(inner or {})
        within = within[step]
    within[target[-1]] = new
    return Change(0, column, before, after)


def _written(record: Mapping[str, Any], header: CsvHeader | None) -> bytes:
    """Return a record as bytes: JSON, or a line of CSV. Raises NotClean for text that the encoding has not."""
    try:
        if header is None:
            return _json(record).encode()
        fields = [_text(record.get(name)) or "" for name in header.names]
        return _csv_line(fields, header.dialect)
    except UnicodeEncodeError as error:
        raise NotClean(ErrorCode.INVALID_ENCODING, f"the patched record cannot be written: {error.reason}") from None


def _csv_line(fields: Sequence[str], dialect: CsvDialect) -> bytes:
    line = io.StringIO()
    csv.writer(
        line,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape or None,
        lineterminator="",
        quoting=csv.QUOTE_ALL,
    ).writerow(fields)
    return line.getvalue().encode(dialect.encoding)


def _json(value: object) -> str:
    """Return the JSON of a value of parse_json, whose numbers keep their digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_json(str(name))}: {_json(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _refusal(block: Block, index: int, problem: NotClean) -> Refusal:
    raw, format = block.records[index], {"format": block.format.value}
    attributes = {**format, **(block.header.attributes if block.header else {})}
    position = int(block.positions[index])
    return Refusal(position, raw[:MAX_STORED_BYTES], problem.code, problem.message, problem.field, len(raw), attributes)
