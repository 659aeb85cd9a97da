"""What this process retries: what refuses, how often and why.

No other display shows it: to a person a service that refuses looks like a slow one. Each retry loop reports here what
it meets. The command shows it (console/waits.py); where steps run elsewhere, the worker's log has it.

Waits belong to the process and not to a run: clients that retry are shared by runs, and exist before the run does. The
command that shows them owns them, see `observed`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Wait", "Waits", "elsewhere", "failed", "lines", "observed", "over"]

SAY_AFTER_SECONDS = 3.0
"""How long something has to be retried before it is reported: a single lost connection is no news."""
SAY_AGAIN_SECONDS = 10.0
STALE_SECONDS = 90.0
"""A wait without another attempt for this long is over: Google's clients pause for at most 60 s."""
MAX_REASON = 300
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Wait:
    """Something that is retried. `reason` is the latest one; times are seconds of a monotonic clock."""

    what: str
    began: float
    reason: str = ""
    tries: int = 0
    failed_at: float = 0.0
    same_since: float = 0.0
    """When the reason was first the same as now."""
    logged_at: float = float("-inf")

    @property
    def line(self) -> str:
        """The wait in one line."""
        times = "try" if self.tries == 1 else "tries"
        return f"{self.what} ({self.tries} {times} in {self.failed_at - self.began:.0f} s): {self.reason}"


@dataclass
class Waits:
    """The waits of a process, each under a key of its retry loop. Safe from any thread."""

    clock: Callable[[], float] = time.monotonic
    _waits: dict[Hashable, Wait] = field(default_factory=dict)
    _elsewhere: dict[Hashable, Sequence[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self, key: Hashable, what: str, reason: str) -> Wait:
        """Count an attempt at `what` that has failed with `reason`; another `what` under the key starts a new wait."""
        now = self.clock()
        reason = " ".join(reason.split())[:MAX_REASON]
        with self._lock:
            self._waits = {key: wait for key, wait in self._waits.items() if now - wait.failed_at <= STALE_SECONDS}
            wait = self._waits.get(key)
            if wait is None or wait.what != what:
                wait = self._waits[key] = Wait(what, began=now)
            if wait.reason != reason:
                wait.same_since = now
            wait.reason, wait.failed_at = reason, now
            wait.tries += 1
            say = now - wait.began >= SAY_AFTER_SECONDS and now - wait.logged_at >= SAY_AGAIN_SECONDS
            if say:
                wait.logged_at = now
        if say:
            logger.warning("%s", wait.line)
        return wait

    def over(self, key: Hashable) -> None:
        """End the wait under `key`, if there is one: an attempt has succeeded, or there is no other."""
        with self._lock:
            self._waits.pop(key, None)

    def elsewhere(self, process: Hashable, lines: Sequence[str]) -> None:
        """Set the lines of another process that works for this one."""
        with self._lock:
            self._elsewhere[process] = lines

    def lines(self) -> list[str]:
        """Return a line for each wait that has lasted SAY_AFTER_SECONDS, the longest first.

        Retry loops that meet the same refusal share a line.
        """
        now = self.clock()
        with self._lock:
            current = [wait for wait in self._waits.values() if now - wait.failed_at <= STALE_SECONDS]
            others = [line for lines in self._elsewhere.values() for line in lines]
        current = [wait for wait in current if now - wait.began >= SAY_AFTER_SECONDS]
        current.sort(key=lambda wait: wait.began)
        own = {(wait.what, wait.reason): wait.line for wait in reversed(current)}
        return [*list(own.values())[::-1], *others]


_current = Waits()


@contextmanager
def observed() -> Iterator[Waits]:
    """Yield a new Waits, which has what this process retries while the block lasts."""
    global _current
    before, _current = _current, Waits()
    try:
        yield _current
    finally:
        _current = before


def failed(key: Hashable, what: str, reason: str) -> Wait:
    """Count a failed attempt in this process, see Waits.failed."""
    return _current.failed(key, what, reason)


def over(key: Hashable) -> None:
    """End a wait of this process, see Waits.over."""
    _current.over(key)


def elsewhere(process: Hashable, lines: Sequence[str]) -> None:
    """Set the lines of another process, see Waits.elsewhere."""
    _current.elsewhere(process, lines)


def lines() -> list[str]:
    """Return the lines of this process, see Waits.lines."""
    return _current.lines()
