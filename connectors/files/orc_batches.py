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
SCANS = 8
"""How often a damaged file is read. The error of a dataset overtakes some of the batches before it, other ones each
time: what one scan loses, another has. The last batches may be missing all the same."""


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
    columns: Any = {name: ds.field((file.schema.names[number],)) for number, name in names.items()}
    rows, problem = 0, None
    for _ in range(SCANS):
        try:
            for batch, end in _scanned(source, columns):
                if end > rows:
                    yield batch.slice(max(0, rows - (end - batch.num_rows))), fields
                    rows = end
        except Exception as error:
            if not (isinstance(error, pa.ArrowException) or type(error) is OSError):
                raise  # of the storage
            problem = error
        else:
            problem = None
            break
    if problem:
        raise problem
    if rows != file.nrows:
        raise ValueError(f"it has {rows} rows, its footer says {file.nrows}")


def _scanned(source: Any, columns: Any) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield batches with the number of rows up to the end of each."""
    # A stripe is not limited: a few kB of it may become billions of rows. Only datasets read it in parts.
    fragment = ds.OrcFileFormat().make_fragment(pa.PythonFile(source, mode="r"))  # type: ignore[arg-type]
    scanner = fragment.scanner(columns=columns, batch_size=BATCH_ROWS, batch_readahead=0, use_threads=False)
    rows = 0
    for batch in scanner.to_batches():
        rows += batch.num_rows
        yield batch, rows


def _refuse_unions(kind: Any, path: str) -> None:
    """Raise ValueError if there is a union within a type."""
    if pa.types.is_union(kind):
        raise ValueError(f"column {path} is a union, which is not read")
    for number in range(kind.num_fields):
        field = kind.field(number)
        _refuse_unions(field.type, f"{path}.{field.name}")
