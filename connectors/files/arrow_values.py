"""Arrow arrays as values that json.dumps accepts, for all types and bytes.

Times and dates are converted from their integers, because Python's range is smaller. Text and bytes are decoded with
`surrogateescape`: bytes that are not UTF-8 can be restored, and the decoder refuses their record. A value that cannot
be converted becomes an object that names its type, `{"timestamp[us]": "4611686018427387904"}`, which no column of a
single value accepts.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.bisect import bisect

__all__ = ["Base64", "json_sizes", "json_values"]

Base64 = bool | Mapping[str, "Base64"]
EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.toordinal()
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
LISTS = (pa.ListArray, pa.LargeListArray, pa.MapArray, pa.ListViewArray, pa.LargeListViewArray)
OTHER_BYTES = 24
"""About the size of a number or a time as JSON."""


def json_values(array: pa.Array[Any], base64: Base64 = False) -> list[Any]:
    """Return the values of `array`, None for null, shape (n,). Never raises because of a value.

    `base64` says whether bytes become base64 instead of text; for structs, a mapping says it by the name of a field.
    """
    values, failures = bisect(
        range(len(array)), lambda rows: _values(array.slice(rows[0], len(rows)) if rows else array, base64)
    )
    if not failures:
        return values[0] if len(values) == 1 else [value for part in values for value in part]
    parts = iter([value for part in values for value in part])
    bad = {row: {str(array.type): f"{type(error).__name__}: {error}"[:200]} for row, error in failures}
    return [bad[row] if row in bad else next(parts) for row in range(len(array))]


def json_sizes(array: pa.Array[Any]) -> npt.NDArray[np.int64]:
    """Estimate the bytes of each value of `array` as JSON without converting it. Shape (n,)."""
    sizes: npt.NDArray[np.int64] = _sizes(array)
    return sizes


def _sizes(array: Any) -> Any:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _sizes(array.storage)
    if isinstance(array, pa.DictionaryArray):
        if not len(array.dictionary):
            return np.full(len(array), OTHER_BYTES, dtype=np.int64)
        indices: Any = array.indices
        return _sizes(array.dictionary)[indices.fill_null(0).to_numpy(zero_copy_only=False)]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_bytes(kind):
        lengths: Any = pc.binary_length(_bytes(array))
        return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) + OTHER_BYTES
    if pa.types.is_struct(kind):
        names = sum(len(field.name) + 4 for field in kind)
        return sum((_sizes(field) for field in array.flatten()), np.full(len(array), names, dtype=np.int64))
    if isinstance(array, LISTS):
        offsets, inner = _inside(array)
        summed = np.concatenate([[0], np.cumsum(_sizes(inner))])
        return summed[offsets[1:]] - summed[offsets[:-1]] + OTHER_BYTES
    if pa.types.is_fixed_size_list(kind):
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        return _sizes(values).reshape(len(array), kind.list_size).sum(axis=1) + OTHER_BYTES
    return np.full(len(array), OTHER_BYTES, dtype=np.int64)


def _values(array: Any, base64: Base64) -> Any:
    kind = array.type
    if isinstance(array, pa.DictionaryArray):
        return _of_dictionary(array, base64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(array)
    if _is_bytes(kind):
        encode = _base64 if base64 is True else _text
        return [None if value is None else encode(value) for value in _bytes(array).to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return array.to_pylist()
    if pa.types.is_floating(kind):
        return [
            value if value is None or math.isfinite(value) else str(value) for value in map(_float, array.to_pylist())
        ]
    if pa.types.is_decimal(kind):
        return [None if value is None else format(value, "f") for value in array.to_pylist()]
    if (write := _writer(kind)) is not None:
        return [None if value is None else _written(write, kind, value) for value in _integers(array)]
    if pa.types.is_struct(kind):
        return _structs(array, base64)
    if isinstance(array, LISTS):
        offsets, inner = _inside(array)
        values = json_values(inner, base64)
        return [
            values[start:end] if valid else None
            for start, end, valid in zip(
                offsets[:-1].tolist(), offsets[1:].tolist(), array.is_valid().to_pylist(), strict=True
            )
        ]
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        values = json_values(array.values.slice(array.offset * size, len(array) * size), base64)
        return [
            values[at * size : (at + 1) * size] if valid else None
            for at, valid in enumerate(array.is_valid().to_pylist())
        ]
    return [_other(value) for value in array.to_pylist()]


def _of_dictionary(array: Any, base64: Base64) -> list[Any]:
    """Convert each value of the dictionary once, unless it has more values than the array."""
    if len(array.dictionary) > len(array):
        return json_values(array.dictionary.take(array.indices), base64)
    values = json_values(array.dictionary, base64)
    return [None if index is None else values[index] for index in array.indices.to_pylist()]


def _texts(array: Any) -> Any:
    try:
        return array.to_pylist()
    except UnicodeDecodeError:  # not every writer of Parquet checks its texts
        large = pa.types.is_large_string(array.type)
        return _values(array.view(pa.large_binary() if large else pa.binary()), base64=False)


def _structs(array: Any, base64: Base64) -> list[Any]:
    names = [field.name for field in array.type]
    inner = base64 if isinstance(base64, Mapping) else {}
    columns = [json_values(field, inner.get(name, False)) for name, field in zip(names, array.flatten(), strict=True)]
    rows = zip(*columns, strict=True) if columns else [()] * len(array)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if is_valid else None for row, is_valid in zip(rows, valid, strict=True)]


def _inside(array: Any) -> tuple[npt.NDArray[np.int64], Any]:
    """Return the offsets of the lists of `array` in their elements, shape (n + 1,), and the elements.

    The elements of a map are structs of key and value.
    """
    if isinstance(array, (pa.ListViewArray, pa.LargeListViewArray)):
        return _viewed(array)
    offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    if isinstance(array, pa.MapArray):
        pair = [array.keys.slice(first, last - first), array.items.slice(first, last - first)]
        inner: Any = pa.StructArray.from_arrays(pair, names=["key", "value"])
    else:
        inner = array.values.slice(first, last - first)
    return offsets - first, inner


def _viewed(array: Any) -> tuple[npt.NDArray[np.int64], Any]:
    """Return as `_inside` does for list views, in any order; Arrow's own cast returns invalid arrays for them."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    sizes = np.where(valid, array.sizes.to_numpy(zero_copy_only=False), 0).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    starts = array.offsets.to_numpy(zero_copy_only=False)[: len(sizes)].astype(np.int64)
    numbers = np.repeat(starts - ends[:-1], sizes) + np.arange(ends[-1])
    return ends, array.values.take(pa.array(numbers))


def _is_bytes(kind: pa.DataType) -> bool:
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    return views or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _bytes(array: Any) -> Any:
    """Return the array with offsets instead of views, which few of Arrow's functions support."""
    views = pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type)
    return array.cast(pa.large_binary()) if views else array


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _integers(array: Any) -> Any:
    wide = pa.types.is_timestamp(array.type) or pa.types.is_duration(array.type) or array.type.bit_width == 64
    return array.view(pa.int64() if wide else pa.int32()).to_pylist()


def _writer(kind: pa.DataType) -> Callable[[int], str] | None:
    """Return the conversion of the integers of a type of time; None for another type."""
    if pa.types.is_timestamp(kind):
        zone = "Z" if kind.tz else ""
        return lambda value: _moment(value, PER_SECOND[kind.unit]) + zone
    if pa.types.is_date32(kind):
        return lambda value: date.fromordinal(EPOCH_DAY + value).isoformat()
    if pa.types.is_date64(kind):
        return lambda value: date.fromordinal(EPOCH_DAY + value // 86_400_000).isoformat()
    if pa.types.is_time(kind):
        return lambda value: _clock(value, PER_SECOND[kind.unit])
    if pa.types.is_duration(kind):
        return lambda value: str(float(Decimal(value) / PER_SECOND[kind.unit]))
    return None


def _written(write: Callable[[int], str], kind: pa.DataType, value: int) -> object:
    try:
        return write(value)
    except (ValueError, OverflowError):
        return {str(kind): str(value)}


def _moment(value: int, unit: int) -> str:
    """Return ISO 8601, with nine digits if there are nanoseconds. In a type with a zone, which is for display only, the
    value is in UTC; in one without, it is what clocks showed.
    """
    seconds, rest = divmod(value, unit)
    micros, nanos = divmod(rest * (1_000_000_000 // unit), 1_000)
    text = (EPOCH + timedelta(0, seconds, micros)).isoformat()
    if nanos:
        text = f"{text[:19]}.{micros * 1_000 + nanos:09}"
    return text


def _clock(value: int, unit: int) -> str:
    seconds, rest = divmod(value, unit)
    micros, nanos = divmod(rest * (1_000_000_000 // unit), 1_000)
    text = time(seconds // 3600, seconds // 60 % 60, seconds % 60, micros).isoformat()
    return f"{text[:8]}.{micros * 1_000 + nanos:09}" if nanos else text


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _other(value: Any) -> object:
    return None if value is None else str(value)
