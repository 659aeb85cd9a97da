"""Values in the path of a file: `rides/dt=2024-01-01/hour=05/a.csv` has the fields dt and hour, as Hive writes them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from contracts.table import Column, Kind

__all__ = ["path_texts"]

NULL = "__HIVE_DEFAULT_PARTITION__"


def path_texts(source: str, columns: Sequence[Column]) -> dict[int, str | None]:
    """Return the texts that the path of a file gives to columns, by index; None for null.

    A column with `path_part` or `file_name` has its value from the path alone. Another column of a single value has
    it if a folder `name=value` has the name of its field, in any case, and the record has none.
    """
    *folders, name = source.split("/")
    parts: dict[str, str] = {}
    for folder in folders:
        key, sign, value = folder.partition("=")
        if sign:
            parts[unquote(key).casefold()] = unquote(value)
    texts: dict[int, str | None] = {}
    for index, column in enumerate(columns):
        if column.file_name:
            texts[index] = name
        elif column.path_part is not None:
            texts[index] = _value(parts.get(column.path_part.casefold()))
        elif len(column.path) == 1 and not column.repeated and column.kind is not Kind.RECORD:
            key = column.path[0].casefold()
            if key in parts:
                texts[index] = _value(parts[key])
    return texts


def _value(text: str | None) -> str | None:
    return None if text in (None, "", NULL) else text
