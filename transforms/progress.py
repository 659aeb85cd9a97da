"""How far a run is, for whoever watches it: counted in this process, so it knows of workers that run in it.

On DirectRunner and with LOOPBACK workers that is all of them; elsewhere the runner has its own display. A bundle
that is repeated is counted twice: the ledger counts by what was stored, not by this.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["PROGRESS", "Progress", "Status"]


@dataclass(slots=True)
class Progress:
    """Bytes of the pinned files, how many are read, the records that they held, and those refused."""

    total: int = 0
    bytes: int = 0
    records: int = 0
    dead_letters: int = 0
    loading: bool = False
    """Whether all records have gone through their doors."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def step(self) -> str:
        """What is done now."""
        return "loading" if self.loading else "reading" if self.bytes < self.total else "deduplicating"

    def add(self, *, bytes: int = 0, records: int = 0, dead_letters: int = 0) -> None:
        """Count; from any thread."""
        with self._lock:
            self.bytes += bytes
            self.records += records
            self.dead_letters += dead_letters

    def restart(self, total: int) -> None:
        """Begin anew, with a run that has pinned `total` bytes."""
        with self._lock:
            self.total = total
            self.bytes = self.records = self.dead_letters = 0
            self.loading = False


PROGRESS = Progress()
"""This process's."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a stream is doing: offsets committed since it started, offsets left to read, and records by door."""

    seconds: float
    committed: int
    lag: int
    written: int
    duplicate: int
    dead_letter: int
