"""How far back a stream must know keys: each partition has an anchor, from which its horizon is counted back.

A key is known for a horizon of the time that the stream runs. While a stream is down its time does not pass: records
that wait in the topic may repeat what was written last. So the horizon is counted back from the time of the anchor, not
from now. All times are BigQuery's.

- The anchor is committed with the offset. While a partition catches up, that is until it reaches the end that it had
  when the process began, its commits carry the anchor that it had before. Then the anchor is the time of the commit.
- A partition that catches up for a whole horizon without interruption has known all keys of that time: its anchor moves
  on. So a start reads the keys of about two horizons, however long the stream was down.
- A partition without anything left to read needs none: what comes next is newer than now.
- An offset without an anchor was set by a tool, or by a version before: its anchor is the time at which the ledger
  first recorded the records there.
- A partition that has neither is new. In a known group it was added after the others began, so their oldest anchor
  counts. In a new group nothing is known, and every key of the table is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

__all__ = ["EVERYTHING", "resolve"]

EVERYTHING = datetime(1970, 1, 1, tzinfo=UTC)
"""The anchor of a partition for which every key of the table must be known."""


def resolve(
    offsets: Mapping[str, int | None],
    ends: Mapping[str, int],
    anchors: Mapping[str, datetime | None],
    recorded: Callable[[Mapping[str, int]], Mapping[str, datetime]],
    now: datetime,
) -> dict[str, datetime]:
    """Return the anchor of each source, none later than `now`.

    Args:
        offsets: The committed offset of each source, None if there is none.
        ends: The end of each source.
        anchors: The committed anchor of each source, None if there is none.
        recorded: Returns when the ledger first recorded the records at these offsets, for sources that it knows.
        now: BigQuery's time.
    """
    known = {source: min(anchor, now) for source in offsets if (anchor := anchors.get(source)) is not None}
    unknown = {source: offset or 0 for source, offset in offsets.items() if source not in known}
    if unknown:
        known |= {source: min(time, now) for source, time in recorded(unknown).items()}
    oldest = min(known.values(), default=EVERYTHING)
    resolved = {source: known.get(source, oldest) for source in offsets}
    finished = {source for source, offset in offsets.items() if offset is not None and offset >= ends[source]}
    return resolved | dict.fromkeys(finished, now)
