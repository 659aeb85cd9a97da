"""Batches of an ORC file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import orc

from connectors.files.columns_read import Batch, fields_of, names_read
from contracts.table import Table

__all__ = ["orc_batches"]

BATCH_ROWS = 1_024


def orc_batches(source: Any, table: Table | None) -> Iterator[Batch]:
    """Yield batches of the columns that `table` reads, under its names, each with all fields of the file.

    Raises ValueError, or an error of Arrow, behind the batches before the damage. A timestamp that nanoseconds since
    1970 cannot express (before 1677, after 2262) is such a damage: Arrow has no other unit for ORC.
    """
    file = orc.ORCFile(source)
    names = names_read(file.schema.names, table)
    fields = {field.name: fields_of(field.type) for field in file.schema}
    for number in names:
        _refuse_unions(file.schema.field(number).type, file.schema.names[number])
    rows = 0
    # A stripe is not limited: a few kB of it may become billions of rows. Only datasets read it in parts.
    fragment = ds.OrcFileFormat().make_fragment(pa.PythonFile(source, mode="r"))  # type: ignore[arg-type]
    columns: Any = {name: ds.field((file.schema.names[number],)) for number, name in names.items()}
    scanner = fragment.scanner(columns=columns, batch_size=BATCH_ROWS, batch_readahead=0, use_threads=False)
    for batch in scanner.to_batches():
        yield batch, fields
        rows += batch.num_rows
    if rows != file.nrows:
        raise ValueError(f"it has {rows} rows, its footer says {file.nrows}")


def _refuse_unions(kind: Any, path: str) -> None:
    """Raise ValueError if there is a union within a type."""
    if pa.types.is_union(kind):
        raise ValueError(f"column {path} is a union, which is not read")
    for number in range(kind.num_fields):
        field = kind.field(number)
        _refuse_unions(field.type, f"{path}.{field.name}")
