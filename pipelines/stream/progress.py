"""How far a consumer group has come: its committed offsets, and the anchors from which the horizon is counted back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from connectors.bookkeeping.ledger import LedgerTable
from connectors.kafka.group_offsets import GroupOffsets
from connectors.sinks.stored_keys import Progress
from transforms.anchors import resolve

__all__ = ["GroupProgress", "IdlePartitions", "anchors_of"]


@dataclass(frozen=True)
class GroupProgress:
    """The progress of a group in all partitions that the topics have now. It pickles."""

    offsets: GroupOffsets
    topics: tuple[str, ...]
    ledger: LedgerTable
    clock: Callable[[], datetime]
    """BigQuery's time."""

    def __call__(self) -> Progress:
        sources = self.offsets.sources(self.topics)
        committed = self.offsets.committed(sources)
        anchors = anchors_of(self.offsets, committed, self.ledger, self.clock())
        return Progress({source: offset or 0 for source, offset in committed.items()}, min(anchors.values()))


@dataclass(frozen=True)
class IdlePartitions:
    """Commits the offsets of a group's partitions that have nothing left to read again. It pickles."""

    offsets: GroupOffsets
    topics: tuple[str, ...]
    clock: Callable[[], datetime]
    """BigQuery's time."""

    def __call__(self) -> None:
        now = self.clock()  # before the ends are read: what comes later is newer
        self.offsets.recommit_finished(self.offsets.sources(self.topics), now)


def anchors_of(
    offsets: GroupOffsets, committed: Mapping[str, int | None], ledger: LedgerTable, now: datetime
) -> dict[str, datetime]:
    """Return the anchor of each source of `committed`, see `resolve`."""
    return resolve(committed, offsets.ends(committed), offsets.anchors(committed), ledger.first_recorded, now)
