"""How far the steps of a stream that run in this process have read, and when they stop."""

from __future__ import annotations

import threading

__all__ = ["ReadOffsets"]


class ReadOffsets:
    """The offsets that are in blocks, by attempt: one execution of a run's job. A part of the run's state."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, int]] = {}
        self._stopped: set[str] = set()
        self._lock = threading.Lock()

    def advance(self, attempt: str, source: str, end: int) -> bool:
        """Record that a block of `source` ends before the offset `end`. Return False if the attempt has to stop.

        A block may be released only if this returns True.
        """
        with self._lock:
            if attempt in self._stopped:
                return False
            ends = self._ends.setdefault(attempt, {})
            ends[source] = max(ends.get(source, 0), end)
            return True

    def stop(self, attempt: str) -> dict[str, int]:
        """Stop making blocks for `attempt`; return the offset behind the last block of each source.

        A record that was read but is in no block has no effect: its offset is not committed, and the next start reads
        it again.
        """
        with self._lock:
            self._stopped.add(attempt)
            return dict(self._ends.get(attempt, {}))

    def close(self) -> None:
        """Nothing to release."""
