"""How far a consumer group has come: its committed offsets, and the anchors from which the horizon is counted back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.bookkeeping.ledger import LedgerTable
from connectors.kafka.group_offsets import GroupOffsets
from connectors.sinks.stored_keys import Progress
from transforms.anchors import resolve
from transforms.run import Run

__all__ = ["CommittedOffsets", "GroupProgress", "Upkeep", "anchors_of"]

ROLL_UP_PAUSE = timedelta(hours=6)


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
class CommittedOffsets:
    """The committed offsets of a group in all partitions that the topics have now. It pickles."""

    offsets: GroupOffsets
    topics: tuple[str, ...]

    def __call__(self) -> dict[str, int]:
        return {source: at or 0 for source, at in self.offsets.committed(self.offsets.sources(self.topics)).items()}


class _LastRollUp:
    """When this process has last looked for lines of the ledger to roll up: a part of the run's state."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._lock = threading.Lock()

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time to look again, and note that it is done."""
        with self._lock:
            if self._at is not None and now - self._at < ROLL_UP_PAUSE:
                return False
            self._at = now
            return True

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class Upkeep:
    """What a running stream does every ten minutes. It pickles.

    It commits the offsets of partitions that have nothing left to read again, and, a few times a day, rolls up old
    lines of the ledger.
    """

    offsets: GroupOffsets
    topics: tuple[str, ...]
    ledger: LedgerTable
    run: Run
    clock: Callable[[], datetime]
    """BigQuery's time."""

    def __call__(self) -> None:
        now = self.clock()  # before the ends are read: what comes later is newer
        self.offsets.recommit_finished(self.offsets.sources(self.topics), now)
        if self.run.state.part(_LastRollUp).is_due(now):
            self.ledger.roll_up(now)


def anchors_of(
    offsets: GroupOffsets, committed: Mapping[str, int | None], ledger: LedgerTable, now: datetime
) -> dict[str, datetime]:
    """Return the anchor of each source of `committed`, see `resolve`."""
    return resolve(committed, offsets.ends(committed), offsets.anchors(committed), ledger.first_recorded, now)
