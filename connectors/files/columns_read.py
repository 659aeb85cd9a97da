"""Which columns of a file with a schema are read, and the names of its fields."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from contracts.decoding.field_names import match_names
from contracts.decoding.records import Fields
from contracts.table import Table, UnknownFields

__all__ = ["Batch", "fields_of", "names_read"]

Batch = tuple[pa.RecordBatch, Fields]
"""Rows of the columns that are read, under the names of the contract, and all fields of the file."""
MAX_DEPTH = 100


def fields_of(kind: Any, depth: int = 1) -> Fields | None:
    """Return the fields of a type (of a list those of its elements), to a depth that no contract reaches."""
    if isinstance(kind, pa.BaseExtensionType):
        return fields_of(kind.storage_type, depth)
    if depth > MAX_DEPTH or not pa.types.is_nested(kind):
        return None
    if pa.types.is_struct(kind):
        return {field.name: fields_of(field.type, depth + 1) for field in kind}
    if pa.types.is_map(kind):
        return {"key": fields_of(kind.key_type, depth + 1), "value": fields_of(kind.item_type, depth + 1)}
    return fields_of(kind.value_type, depth + 1) if hasattr(kind, "value_type") else None


def names_read(columns: list[str], table: Table | None) -> dict[int, str]:
    """Return the names in the contract of the columns of a file, by number; columns that are not read are left out.

    As in BigQuery, case and outer blanks are ignored. Raises ValueError if two columns have the same name then, or if
    no column is read.
    """
    if table is None:
        names = dict(enumerate(columns))
    else:
        steps = {column.path[0] for column in table.read_columns}
        every = table.unknown_fields is not UnknownFields.IGNORE
        called = [
            field or (name if every else None) for name, field in zip(columns, match_names(columns, steps), strict=True)
        ]
        names = {number: name for number, name in enumerate(called) if name is not None}
        if not steps.intersection(names.values()):
            raise ValueError("it names no column of the contract")
    stated = list(names.values())
    if twice := sorted({name for name in stated if stated.count(name) > 1}):
        raise ValueError(f"it has several columns {', '.join(twice[:5])}")
    return names
