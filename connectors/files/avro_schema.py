"""Avro schemas: what polars reads of one, and how that becomes the values that the schema means.

polars decodes Avro into Arrow many times faster than Python can, but it does not know every type. So the records are
read under another schema of the same bytes: a text is its bytes, an enum its number, a map an array of its pairs, and
a logical type the type below it. `Reading.convert` makes of that array what the schema means.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

import pyarrow as pa

from contracts.decoding.records import Fields

__all__ = ["MAX_TYPES", "Reading", "Record", "record_of"]

MAX_TYPES = 10_000
"""A schema can name a type many times, so that a few lines stand for billions of fields."""
PRIMITIVES = {"boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1, "null": 0}
"""The fewest bytes of a value."""
MAX_DECIMAL_BYTES = 1_000
DURATION_BYTES, UUID_BYTES = 12, 16
UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}
ZONES = {"timestamp": "UTC", "local-timestamp": None}
TIMES: dict[tuple[str, str], Any] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{
        ("long", f"{name}-{unit}"): pa.timestamp(short, zone)
        for name, zone in ZONES.items()
        for unit, short in UNITS.items()
    },
}


class Reading(NamedTuple):
    """How the values of a type are read."""

    plain: Any
    """The schema for polars."""
    least: int
    """The fewest bytes of a value."""
    convert: Callable[[Any], Any]
    """From the array of polars to that of the values."""
    fields: Fields | None = None
    """The fields of a record, or of the elements of an array or map."""


Record = Mapping[str, Reading | None]
"""The fields of a record, in order; None for one of type `null`, whose values have no bytes."""


def record_of(schema: Any) -> Record:
    """Return how the records of a file are read. Raises ValueError, with the field, for a type that is not read."""
    schemas = _Schemas()
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError("its schema is not a record")
    schemas.open(schema, "")
    return schemas.fields(schema, str(schema.get("namespace", "")), "")


def _same(array: Any) -> Any:
    return array


class _Schemas:
    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: set[int] = set()
        self._types = 0
        self._numbers = count()

    def open(self, schema: dict[str, Any], namespace: str) -> str:
        """Register a type that has a name; return the namespace within it."""
        name = str(schema.get("name", ""))
        full = name if "." in name else f"{schema.get('namespace', namespace)}.{name}"
        self._named[full] = schema, full.rpartition(".")[0]
        self._open.add(id(schema))
        return full.rpartition(".")[0]

    def fields(self, schema: dict[str, Any], namespace: str, path: str) -> Record:
        """Return the fields of a record."""
        record: dict[str, Reading | None] = {}
        for field in schema["fields"]:
            name = str(field["name"])
            if name in record:
                raise ValueError(f"its schema has several fields {path}{name}")
            record[name] = self._reading(field["type"], namespace, f"{path}{name}")
        return record

    def _reading(self, schema: Any, namespace: str, path: str) -> Reading | None:
        """Return how values of a type are read; None for `null`, whose values have no bytes."""
        self._types += 1
        if self._types > MAX_TYPES:
            raise ValueError(f"its schema has more than {MAX_TYPES} types")
        if isinstance(schema, list):
            return self._union(schema, namespace, path)
        if isinstance(schema, str):
            if schema in PRIMITIVES:
                return _primitive(schema, "")
            full = schema if "." in schema else f"{namespace}.{schema}"
            named, within = self._named.get(full) or self._named.get(f".{schema}") or (None, "")
            if named is None:
                raise ValueError(f"field {path}: type {schema!r} is unknown")
            return self._complex(named, within, path)
        return self._complex(schema, namespace, path)

    def _complex(self, schema: dict[str, Any], namespace: str, path: str) -> Reading | None:
        kind, logical = schema["type"], str(schema.get("logicalType", ""))
        if not isinstance(kind, str):
            return self._reading(kind, namespace, path)
        if kind in PRIMITIVES:
            reading = _primitive(kind, logical)
            return _decimal(reading, schema) if reading and kind == "bytes" and logical == "decimal" else reading
        if kind == "array":
            return self._array(schema["items"], namespace, path)
        if kind == "map":
            return self._map(schema["values"], namespace, path)
        if kind not in ("record", "enum", "fixed"):
            return self._reading(kind, namespace, path)
        if id(schema) in self._open:
            raise ValueError(f"field {path}: type {schema.get('name')!r} contains itself, which no column can hold")
        within = self.open(schema, namespace)
        try:
            if kind == "record":
                return self._record(self.fields(schema, within, f"{path}."))
            return _enum(schema) if kind == "enum" else self._fixed(schema, logical)
        finally:
            self._open.discard(id(schema))

    def _union(self, branches: list[Any], namespace: str, path: str) -> Reading | None:
        others = [branch for branch in branches if branch not in ("null", {"type": "null"})]
        if len(branches) == 1 and (only := self._reading(branches[0], namespace, path)) is not None:
            return only._replace(plain=[only.plain, "null"], least=1)
        if len(branches) != len(others) + 1 or len(others) > 1:
            names = " and ".join(str(each["type"] if isinstance(each, dict) else each) for each in branches)
            raise ValueError(f"field {path}: a union of {names} is not read, only one of null and one other type")
        if not others:
            return Reading("int", 1, lambda array: pa.nulls(len(array)))
        reading = self._reading(others[0], namespace, path)
        if reading is None:
            raise ValueError(f"field {path}: a union of null and null is not read")
        plain = ["null", reading.plain] if branches[0] != others[0] else [reading.plain, "null"]
        return reading._replace(plain=plain, least=1)

    def _array(self, items: Any, namespace: str, path: str) -> Reading:
        reading = self._reading(items, namespace, path)
        if reading is None or not reading.least:  # a few bytes could claim any number of elements
            raise ValueError(f"field {path}: an array of elements without bytes is not read")
        return _array(reading)

    def _map(self, values: Any, namespace: str, path: str) -> Reading:
        """A map has the bytes of an array of its pairs, and the values of one: as that of Parquet."""
        value = self._reading(values, namespace, path)
        return _array(self._record({"key": _primitive("string", ""), "value": value}))

    def _record(self, record: Record) -> Reading:
        read = [reading for reading in record.values() if reading is not None]
        fields = [{"name": f"f{number}", "type": reading.plain} for number, reading in enumerate(read)]
        plain = {"type": "record", "name": f"r{next(self._numbers)}", "fields": fields}
        names = {name: reading.fields if reading else None for name, reading in record.items()}
        return Reading(plain, sum(reading.least for reading in read), lambda array: _struct(array, record), names)

    def _fixed(self, schema: dict[str, Any], logical: str) -> Reading | None:
        size = int(schema["size"])
        if size <= 0:
            raise ValueError(f"type {schema.get('name')!r} is fixed with a size of {size}")
        plain = Reading({"type": "fixed", "name": f"x{next(self._numbers)}", "size": size}, size, _same)
        if logical == "decimal":
            return _decimal(plain, schema)
        if (logical, size) == ("uuid", UUID_BYTES):
            return plain._replace(convert=lambda array: _texts(array, lambda value: str(uuid.UUID(bytes=value))))
        if (logical, size) == ("duration", DURATION_BYTES):
            return plain._replace(convert=lambda array: _texts(array, _duration))
        return plain


def _primitive(kind: str, logical: str) -> Reading | None:
    if kind == "null":
        return None
    least = PRIMITIVES[kind]
    if kind == "string":  # whether it is UTF-8 concerns its row, not its file
        return Reading("bytes", least, lambda array: array.cast(pa.large_binary()).view(pa.large_string()))
    if (time := TIMES.get((kind, logical))) is not None:
        return Reading(kind, least, lambda array: array.view(time))
    return Reading(kind, least, _same)


def _enum(schema: dict[str, Any]) -> Reading:
    symbols: Any = pa.array([str(symbol) for symbol in schema["symbols"]], pa.string())
    return Reading("int", 1, lambda array: pa.DictionaryArray.from_arrays(array, symbols))


def _decimal(reading: Reading, schema: dict[str, Any]) -> Reading:
    """Return the text of the values; a scale that is none makes them bytes, as the specification demands."""
    scale = schema.get("scale", 0)
    if not isinstance(scale, int) or not 0 <= scale <= MAX_DECIMAL_BYTES:
        return reading

    def text(value: bytes) -> str:
        if not 0 < len(value) <= MAX_DECIMAL_BYTES:
            return f"a decimal of {len(value)} bytes"
        return format(Decimal(f"{int.from_bytes(value, 'big', signed=True)}E-{scale}"), "f")

    return reading._replace(convert=lambda array: _texts(array, text))


def _duration(value: bytes) -> str:
    """Return a duration as ISO 8601."""
    months, days, millis = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
    return f"P{months}M{days}DT{millis // 1000}.{millis % 1000:03}S"


def _texts(array: Any, text: Callable[[bytes], str]) -> Any:
    return pa.array([None if value is None else text(value) for value in array.to_pylist()], pa.string())


def _array(items: Reading) -> Reading:
    def convert(array: Any) -> Any:
        return pa.LargeListArray.from_arrays(array.offsets, items.convert(array.values), mask=array.is_null())

    return Reading({"type": "array", "items": items.plain}, 1, convert, items.fields)


def _struct(array: Any, record: Record) -> Any:
    if not record:
        return array
    read = iter(array.flatten())
    arrays = [pa.nulls(len(array)) if reading is None else reading.convert(next(read)) for reading in record.values()]
    return pa.StructArray.from_arrays(arrays, names=list(record), mask=array.is_null())
