"""What a run keeps in a process while it lasts: one owner, which steps find by the run's token.

The command that runs a pipeline creates the state, registers it under the run's token and drops it when the run ends.
Steps that run in the same process (DirectRunner, LOOPBACK workers) find it there. A worker elsewhere creates a
separate state on first use; nothing reads its progress and metrics, but steps share what it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from transforms.metrics import Metric, MetricValues, Series
from transforms.progress import Progress

__all__ = ["Counted", "RunEnded", "RunState", "has_ended", "registered", "state_of"]


class RunPart(Protocol):
    """Something that the steps of a run share in a process. It is created without arguments."""

    def close(self) -> None:
        """Release its resources; called when the run ends, possibly while a step still uses it."""


Part = TypeVar("Part", bound=RunPart)


class RunEnded(RuntimeError):
    """A step is still running after its run has ended in this process. It may change nothing any more."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a run has counted in one process since the last time: bytes, records and dead letters read, and counters."""

    bytes: int
    records: int
    dead_letters: int
    counters: dict[tuple[Metric, Series], float]

    def __bool__(self) -> bool:
        return bool(self.bytes or self.records or self.dead_letters or self.counters)


class RunState:
    """The state of one run in this process. Safe from any thread."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.metrics = MetricValues()
        self._parts: dict[type[RunPart], RunPart] = {}
        self._lock = threading.Lock()

    def part(self, kind: type[Part]) -> Part:
        """Return the run's only instance of `kind`, created on first use."""
        part = self._parts.get(kind)
        if part is None:
            with self._lock:
                part = self._parts.setdefault(kind, kind())
        assert isinstance(part, kind)
        return part

    def take(self) -> Counted:
        """Return what has been counted since the last call, for `add` in another process."""
        return Counted(*self.progress.take(), self.metrics.take())

    def add(self, counted: Counted) -> None:
        """Add what was counted in another process."""
        self.progress.add(bytes=counted.bytes, records=counted.records, dead_letters=counted.dead_letters)
        self.metrics.add(counted.counters)

    def close(self) -> None:
        """Close all parts."""
        with self._lock:
            parts = list(self._parts.values())
            self._parts.clear()
        for part in parts:
            part.close()


_states: dict[str, RunState] = {}
_registered: set[str] = set()
_ended: set[str] = set()
_lock = threading.Lock()


@contextmanager
def registered(token: str, state: RunState) -> Iterator[None]:
    """Register the state of a run in this process while the block lasts; then close it. A token is used once.

    Register a run before its first step: RuntimeError if a step has created a state already.
    """
    with _lock:
        if token in _states or token in _ended:
            raise RuntimeError(f"the run with token {token} has a state in this process already")
        _states[token] = state
        _registered.add(token)
    try:
        yield
    finally:
        with _lock:
            del _states[token]
            _registered.remove(token)
            _ended.add(token)
        state.close()


def state_of(token: str) -> RunState:
    """Return the state of a run, created on first use unless it was registered. Raises RunEnded.

    A process that only works for runs elsewhere serves one after the other: a new one drops the state of an earlier
    one.
    """
    state = _states.get(token)
    if state is not None:
        return state
    with _lock:
        if token in _ended:
            raise RunEnded(f"the run with token {token} has ended in this process")
        dropped = [_states.pop(other) for other in list(_states) if other not in _registered | {token}]
        state = _states.setdefault(token, RunState())
    for other in dropped:
        other.close()
    return state


def has_ended(token: str) -> bool:
    """Return whether the run was registered in this process and has ended."""
    return token in _ended
