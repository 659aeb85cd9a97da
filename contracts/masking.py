"""What a person sees of rows and of refused records: values of masked columns (classification.py) are `***`.

What is stored is not masked: a replay needs the records. What cannot be told apart into columns (broken JSON, a CSV
record that does not fit its header, an error message of BigQuery) is masked whole if the table has a masked column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.classification import MASK, has_masked, is_classified, masked_columns, masked_in_part
from contracts.decoding.csv_rows import CsvHeader, parse_row
from contracts.decoding.decoder import EXTRA
from contracts.decoding.json_text import parse_json
from contracts.decoding.json_value import canonical_json
from contracts.decoding.letter_attributes import stored_attributes, stored_header
from contracts.odcs.documentation import limits
from contracts.refusal import WITHOUT_RECORD, ErrorCode, NotClean
from contracts.table import Column, Table

__all__ = ["Masking"]

OWN_WORDS = {
    code.value
    for code in (
        *(ErrorCode.MALFORMED_JSON, ErrorCode.MALFORMED_CSV, ErrorCode.INVALID_ENCODING, ErrorCode.RECORD_TOO_LARGE),
        *(ErrorCode.UNKNOWN_FIELD, ErrorCode.DUPLICATE),
    )
}
"""Codes whose messages quote no value."""
OPEN_ATTRIBUTES = (
    *("format", "delimiter", "quote", "encoding", "nulls", "trim", "escape", "ragged", "size", "timestamp"),
    *("file_format", "compression", "header_record", "key_truncated", "headers_truncated", "attributes_truncated"),
)
"""Attributes of a dead letter that quote no value. A Kafka key or header may be a person's."""


@dataclass
class _Node:
    """A place in a record. What no column reads is neither open nor masked; it is not shown."""

    open: bool = False
    masked: bool = False
    below: dict[str, _Node] = field(default_factory=dict)

    @property
    def hides(self) -> bool:
        """Whether something here or below is masked."""
        return self.masked or any(node.hides for node in self.below.values())


class Masking:
    """What may be shown of the rows and dead letters of one table; of a table without a contract nothing."""

    def __init__(self, table: Table | None) -> None:
        self._table = table
        self._top = table.columns if table else ()
        self._masked = masked_columns(table) if table else frozenset[str]()
        self._root = _Node()
        for column in table.read_columns if table else ():
            _place(self._root, column)

    @property
    def hides(self) -> bool:
        """Whether there is anything to mask."""
        return self._table is None or has_masked(self._table)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the table with its masked values replaced. A null stays one."""
        if self._table is None:
            return {name: value and MASK for name, value in row.items()}
        return {name: self._cell(name, value) for name, value in row.items()}

    def raw(self, raw: bytes, attributes: Mapping[str, object], *, truncated: bool = False) -> str:
        """Return a refused record as text: with the values of open columns, if it can be told apart into columns."""
        if not raw or not self.hides:
            return raw.decode(errors="backslashreplace")
        whole = f"{MASK} ({len(raw):,} bytes)"
        if truncated or self._table is None or attributes.get("header_record"):
            return whole
        try:
            if attributes.get("format") == "csv":
                header = stored_header(attributes, self._table.read_columns)
                return self._csv(parse_row(raw, header), header)
            if attributes.get("format", "json") == "json":
                return canonical_json(_shown(parse_json(raw.decode()), self._root), "")
        except (NotClean, ValueError, LookupError, RecursionError):
            pass
        return whole

    def message(self, code: str, path: str | None, message: str) -> str:
        """Return why a record was refused. A message about a masked value is built from the contract alone."""
        if not self.hides:
            return message
        if code in OWN_WORDS:
            return message.partition(WITHOUT_RECORD)[0]
        if path is None or self._table is None:
            return f"{MASK}: the message may quote the record"
        column, masked = self._at(path)
        if column is None or not masked:
            return message.partition(WITHOUT_RECORD)[0] if column else f"{path}: {MASK}"
        if code == ErrorCode.MISSING_REQUIRED.value:
            return f"{path}: a value is required"
        if code == ErrorCode.WRONG_TYPE.value:
            return f"{path}: {MASK} cannot be read as {column.kind.value}"
        rules = "; ".join(limits(column)).replace("`", "")
        return f"{path}: {MASK} breaks a rule of the contract{rules and ': '}{rules}"

    def attributes(self, attributes: Mapping[str, object]) -> dict[str, object]:
        """Return the attributes of a dead letter: of a CSV header the names that the contract knows."""
        if not self.hides:
            return dict(attributes)
        shown = {name: value if name in OPEN_ATTRIBUTES or not value else MASK for name, value in attributes.items()}
        if isinstance(attributes.get("header"), str) and self._table is not None:
            try:
                header = stored_header(attributes, self._table.read_columns)
                known = {column.path[0] for column in self._table.read_columns}
                shown["header"] = _csv_text([name if name in known else MASK for name in header.names], header)
            except (NotClean, ValueError, LookupError):
                pass
        return shown

    def value(self, path: str, value: str | None) -> str | None:
        """Return the text of a column, or of a field of a RECORD such as `buyer.name`; a null stays one."""
        return MASK if value is not None and self.hides and self._at(path)[1] else value

    def letter(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of `dead_letters` as it is shown. Its `raw`, if it has one, becomes text."""
        shown = dict(row)
        given = row.get("attributes")
        attributes = stored_attributes(given)
        if "error_message" in row:
            shown["error_message"] = self.message(str(row["error_code"]), row.get("field"), str(row["error_message"]))
        if "raw" in row:
            shown["raw"] = self.raw(row["raw"], attributes, truncated=bool(row.get("truncated")))
        if given is not None:
            shown["attributes"] = self.attributes(attributes)
        return shown

    def _at(self, path: str) -> tuple[Column | None, bool]:
        """Return the column, or the field of a RECORD, at the path of a message such as `lines[0].buyer.name`.

        Also return whether it is masked, as a whole or in part.
        """
        column, masked = None, False
        columns: tuple[Column, ...] = self._top
        for step in path.split("."):
            name = step.partition("[")[0]
            column = next((each for each in columns if each.name == name), None)
            if column is None:
                return None, True
            masked = masked or is_classified(column) or (columns is self._top and name in self._masked)
            columns = column.fields
        return column, masked or (column is not None and masked_in_part(column))

    def _cell(self, name: str, value: Any) -> Any:
        """Return a value of a row. Of a name that the contract has not, `_extra` holds unknown fields."""
        column = next((each for each in self._top if each.name == name), None)
        if name in self._masked or (column is None and name == EXTRA and self.hides):
            return value if value is None else MASK
        return value if column is None else _cell(column, value)

    def _csv(self, values: Mapping[str, object], header: CsvHeader) -> str:
        shown = (_shown(value, self._root.below.get(name)) for name, value in values.items())
        return _csv_text(["" if value is None else str(value) for value in shown], header)


def _place(at: _Node, column: Column) -> None:
    """Enter a column where the record has its value."""
    if column.file_name or column.path_part is not None:
        return
    for step in column.path:
        at = at.below.setdefault(step, _Node())
    if is_classified(column):
        at.masked = True
    elif not masked_in_part(column):
        at.open = True
    else:
        for inner in column.fields:
            _place(at, inner)


def _shown(value: object, node: _Node | None, *, within_open: bool = False) -> object:
    """Return a value of a record from parse_json, or a text of CSV, with MASK where no open column reads it."""
    if value is None:
        return None
    if node is None:
        return value if within_open else MASK
    within_open = within_open or node.open
    if node.masked:
        return MASK
    if isinstance(value, Mapping) and node.below:
        return {name: _shown(item, node.below.get(name), within_open=within_open) for name, item in value.items()}
    if isinstance(value, list) and node.below:
        return [_shown(item, node, within_open=within_open) for item in value]
    return value if within_open and not node.hides else MASK


def _cell(column: Column, value: Any) -> Any:
    """Return a value of a row, of a RECORD with its masked fields replaced."""
    if value is None or not masked_in_part(column):
        return value
    if column.repeated and isinstance(value, Sequence):
        return [_cell(column.element, item) for item in value]
    if is_classified(column) or not isinstance(value, Mapping):
        return MASK
    return {inner.name: _cell(inner, value.get(inner.name)) for inner in column.fields}


def _csv_text(fields: Sequence[str], header: CsvHeader) -> str:
    line = io.StringIO()
    dialect = header.dialect
    csv.writer(line, delimiter=dialect.delimiter, quotechar=dialect.quote, lineterminator="").writerow(fields)
    return line.getvalue()
