"""Match the names in the header of a file with the fields that a contract reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["match_names"]


def match_names(names: Iterable[str], fields: Iterable[str]) -> list[str | None]:
    """Return the field of the contract that each name stands for, or None if there is none.

    Case and outer blanks are ignored, as in BigQuery. Fields that differ in nothing else are matched exactly.
    """
    exact = set(fields)
    counts = Counter(map(_normalized, exact))
    by_normalized = {_normalized(field): field for field in exact if counts[_normalized(field)] == 1}
    return [
        name if name in exact else name.strip() if name.strip() in exact else by_normalized.get(_normalized(name))
        for name in names
    ]


def _normalized(name: str) -> str:
    return name.strip().casefold()
