"""Rows of a data frame in the Arrow types in which BigQuery stores them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

__all__ = ["arrow_rows"]


def arrow_rows(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return the columns of `schema` with its types. TIME and BIGNUMERIC are texts in a frame, see columns.py."""
    rows = frame.select(schema.names).to_arrow()
    if not any(_has_texts(field.type) for field in schema):
        return rows.cast(schema)
    columns = [
        _converted(column.combine_chunks(), field.type) for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _has_texts(kind: Any) -> bool:
    if pa.types.is_time(kind) or pa.types.is_decimal256(kind):
        return True
    return any(_has_texts(kind.field(number).type) for number in range(kind.num_fields))


def _converted(array: Any, kind: Any) -> Any:
    if not _has_texts(kind):
        return array.cast(kind)
    if pa.types.is_time(kind):
        texts = pl.Series(array)
        return texts.str.to_time("%H:%M:%S%.f").to_arrow().cast(kind)
    if pa.types.is_struct(kind):
        fields = [_converted(inner, field.type) for inner, field in zip(array.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=array.is_null())
    if pa.types.is_list(kind):
        # an array is never null, so the offsets are those of the values
        offsets = pa.array([0, *pl.Series(array).list.len().cum_sum().to_list()], pa.int32())
        return pa.ListArray.from_arrays(offsets, _converted(array.flatten(), kind.value_type), type=kind)
    return array.cast(pa.string()).cast(kind)
