"""Feed a splitter a stream in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.decoding.records import Split, Splitter
from contracts.refusal import ErrorCode

__all__ = ["Seen", "in_pieces"]

Seen = tuple[list[tuple[int, bytes]], list[tuple[int, bytes, int | None]]]
"""Records with their positions; refusals with position, stored bytes and size."""


def in_pieces(splitter: Splitter, data: bytes, cuts: Iterable[int]) -> Seen:
    """What `splitter` makes of `data` in pieces that end at `cuts`; all that it refuses must be too large."""
    splits: list[Split] = []
    begin = 0
    for end in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        splits.append(splitter.feed(data[begin:end]))
        begin = end
    splits.append(splitter.end())
    records = [pair for part in splits for pair in zip(part.positions, part.records, strict=True)]
    refusals = [(each.position, each.raw, each.size) for part in splits for each in part.refusals]
    assert all(each.code is ErrorCode.RECORD_TOO_LARGE for part in splits for each in part.refusals)
    return records, refusals
