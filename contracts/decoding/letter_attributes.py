"""The attributes of a stored dead letter: what decoding its record again needs besides the bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from contracts.decoding.csv_rows import CsvHeader, parse_header
from contracts.table import Column, CsvDialect

__all__ = ["stored_attributes", "stored_dialect", "stored_header"]


def stored_attributes(value: object) -> Mapping[str, object]:
    """Return the value of the column `attributes`, which some clients return as text. Empty if there are none."""
    value = json.loads(value) if isinstance(value, str) else value
    return value if isinstance(value, Mapping) else {}


def stored_header(attributes: Mapping[str, object], columns: Iterable[Column]) -> CsvHeader:
    """Return the header as it was read; one that was none has no names.

    Raises NotClean if it is no header any more, and KeyError or ValueError for attributes that no run has written.
    """
    dialect, text = stored_dialect(attributes), attributes.get("header")
    if not isinstance(text, str):
        return CsvHeader(b"", (), dialect)
    return parse_header(text.encode(dialect.encoding), dialect, columns)


def stored_dialect(attributes: Mapping[str, object]) -> CsvDialect:
    """Return the dialect of the file. Raises KeyError or ValueError for attributes that no run has written."""
    nulls = attributes.get("nulls", [])
    if not isinstance(nulls, list):
        raise ValueError(f"nulls is {type(nulls).__name__}, not list")
    return CsvDialect(
        str(attributes["delimiter"]),
        str(attributes["quote"]),
        str(attributes["encoding"]),
        tuple(map(str, nulls)),
        trim=bool(attributes.get("trim")),
        escape=str(attributes.get("escape", "")),
        ragged=bool(attributes.get("ragged")),
    )
