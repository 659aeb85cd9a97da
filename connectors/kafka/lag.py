"""What a consumer group has left to read."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["lag"]


def lag(positions: Mapping[str, int | None], ends: Mapping[str, int]) -> dict[str, int]:
    """Return the offsets that are left to read of each source in `positions`, at least 0.

    `positions` has the next offset to read of each source, None for a source that begins at offset 0. `ends` has the
    offset behind the last readable record.
    """
    return {source: max(0, ends[source] - (position or 0)) for source, position in positions.items()}
