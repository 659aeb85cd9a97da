"""The Kafka key of a record: the text of one of its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import msgspec

from contracts.errors import UsageError
from sample_data.dirty_stream import Keyed

__all__ = ["DEFAULT_KEY", "keyed", "with_keys"]

DEFAULT_KEY = "customer_id"
EXAMINED = 100
"""How many records are examined before the first is sent."""


def keyed(records: Iterable[bytes], path: str = DEFAULT_KEY) -> Iterator[Keyed]:
    """Yield each record with its key, the text or integer at `path`; the key is None if the record has no such field.

    Kafka keeps the order of records with the same key.
    """
    key = _reader(path)
    for record in records:
        yield key(record), record


def with_keys(records: Iterable[bytes], path: str | None, log: Callable[[str], None]) -> Iterator[Keyed]:
    """Yield the records with their keys, see `keyed`. `path` is None if none was asked for.

    Raises UsageError if none of the first records has the field at `path`; without a path, logs that they have no key.
    """
    iterator = iter(records)
    first = list(islice(iterator, EXAMINED))
    key = _reader(path or DEFAULT_KEY)
    if first and not any(map(key, first)):
        fields = ", ".join(_fields(first))
        if path:
            raise UsageError(f"--key {path}: none of the first {len(first)} records has it; their fields are {fields}")
        log(f"the records have no {DEFAULT_KEY} and are sent without a key; --key takes one of {fields}")
    yield from keyed(chain(first, iterator), path or DEFAULT_KEY)


def _reader(path: str) -> Callable[[bytes], bytes | None]:
    """Return a function that reads the key of a record."""
    *outer, last = path.split(".")
    struct: Any = msgspec.defstruct("Key", [("value", str | int | None, msgspec.field(name=last, default=None))])
    for name in reversed(outer):
        struct = msgspec.defstruct("Key", [("value", struct | None, msgspec.field(name=name, default=None))])
    decode = msgspec.json.Decoder(struct).decode

    def read(record: bytes) -> bytes | None:
        try:
            value: Any = decode(record)
        except msgspec.DecodeError:
            return None
        while isinstance(value, msgspec.Struct):
            value = value.value  # type: ignore[attr-defined]
        return None if value is None else str(value).encode()

    return read


def _fields(records: Sequence[bytes]) -> list[str]:
    """Return the names of the first record's fields; a field of an object is OBJECT.FIELD."""
    try:
        value = msgspec.json.decode(records[0])
    except msgspec.DecodeError:
        return ["unknown"]
    return list(_paths(value, "")) if isinstance(value, dict) else ["none"]


def _paths(value: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _paths(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
