"""Objects that steps share with their test: a runner in this process gets the object itself, not a copy."""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakValueDictionary

__all__ = ["Shared"]

_objects: WeakValueDictionary[int, Shared] = WeakValueDictionary()
T = TypeVar("T", bound="Shared")


class Shared:
    """Pickles as a reference to itself, as long as the test holds it."""

    def __reduce__(self: T) -> tuple[object, ...]:
        _objects[id(self)] = self
        return _get, (id(self),)


def _get(key: int) -> Shared:
    return _objects[key]
