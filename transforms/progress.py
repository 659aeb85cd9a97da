"""How far a run is, as counted in this process.

On DirectRunner and with LOOPBACK workers all steps run in it; elsewhere the runner has its own display. A bundle that
is repeated is counted twice: the ledger counts what was stored, and is exact.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Progress", "Status"]


@dataclass(slots=True)
class Progress:
    """The progress of a batch. `total` and `bytes` are bytes of the pinned files: all, and those that are read."""

    total: int = 0
    bytes: int = 0
    records: int = 0
    dead_letters: int = 0
    loading: bool = False
    """Whether the tables are being loaded: every record has gone through its door."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def step(self) -> str:
        """What the run does now."""
        return "loading" if self.loading else "reading" if self.bytes < self.total else "deduplicating"

    def add(self, *, bytes: int = 0, records: int = 0, dead_letters: int = 0) -> None:
        """Add to the counts; from any thread."""
        with self._lock:
            self.bytes += bytes
            self.records += records
            self.dead_letters += dead_letters

    def take(self) -> tuple[int, int, int]:
        """Set bytes, records and dead letters back to 0, and return what they were."""
        with self._lock:
            taken = self.bytes, self.records, self.dead_letters
            self.bytes = self.records = self.dead_letters = 0
            return taken


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a running stream: offsets committed since its start, offsets left to read, records by door.

    `waiting` describes what is being retried; it is empty if nothing is.
    """

    seconds: float
    committed: int
    lag: int
    written: int
    duplicate: int
    dead_letter: int
    duplicate_differs: int = 0
    waiting: str = ""
