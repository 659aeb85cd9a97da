"""The order of sources: it decides which of several rows with one key comes first."""

from __future__ import annotations

import re

__all__ = ["natural_order"]

_DIGITS = re.compile(r"([0-9]+)")


def natural_order(source: str) -> tuple[list[str | int], str]:
    """Return a sort key that orders numbers in names by value: `t_9` comes before `t_10`.

    Names that differ only in leading zeros are ordered by their characters.
    """
    parts = _DIGITS.split(source)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], source
