"""The time that a report is about, and the steps that its charts have."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from contracts.errors import UsageError

__all__ = ["Step", "Window", "parse_since"]

SINCE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MONDAY = datetime(2001, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)


class Step(enum.Enum):
    """The length of one step of a chart. In UTC no hour, day or week is longer or shorter than others."""

    MINUTE = timedelta(minutes=1)
    HOUR = UNITS["h"]
    DAY = UNITS["d"]
    WEEK = UNITS["w"]
    """From Monday."""

    @property
    def word(self) -> str:
        """The step in a sentence."""
        return self.name.lower()

    def begin(self, moment: datetime) -> datetime:
        """Return when the step of a moment began, in UTC."""
        return moment - (moment - MONDAY) % self.value


LONGEST_OF = {Step.MINUTE: timedelta(hours=1), Step.HOUR: timedelta(days=2), Step.DAY: timedelta(days=92)}


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, both in UTC, and when the first line in the ledger is from: the charts begin there."""

    since: datetime
    until: datetime
    first: datetime | None = None

    @property
    def begin(self) -> datetime:
        """When the charts begin, unless a step began before."""
        return min(max(self.since, self.first or self.since), self.until)

    @property
    def step(self) -> Step:
        """Minutes of an hour, hours of two days, days of three months, else weeks: no chart has many more than 90."""
        length = self.until - self.begin
        return next((step for step, longest in LONGEST_OF.items() if length <= longest), Step.WEEK)

    @property
    def starts(self) -> list[datetime]:
        """Return when each step begins."""
        at = self.step.begin(self.begin)
        starts = []
        while at <= self.until:
            starts.append(at)
            at += self.step.value
        return starts

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the steps as people read them: 2026-05-01, or 2026-05-01 10:00."""
        form = "%Y-%m-%d %H:%M" if self.step in (Step.MINUTE, Step.HOUR) else "%Y-%m-%d"
        return tuple(f"{start:{form}}" for start in self.starts)

    @property
    def marks(self) -> tuple[str, ...]:
        """Return the steps for an axis: the time alone within a day, the day alone where a new one begins."""
        starts = self.starts
        if self.step not in (Step.MINUTE, Step.HOUR):
            return tuple(f"{start:%m-%d}" for start in starts)
        later = (
            f"{start:%m-%d}" if start.date() != before.date() else f"{start:%H:%M}"
            for before, start in pairwise(starts)
        )
        return (f"{starts[0]:%H:%M}", *later)

    def truncated(self, moment: str) -> str:
        """Return the SQL of the step of a moment, which is SQL; one before the first step belongs to the first."""
        first = f"UNIX_MICROS(TIMESTAMP '{self.starts[0]:%Y-%m-%d %H:%M:%S}+00')"
        passed = f"GREATEST(UNIX_MICROS({moment}) - {first}, 0)"
        return f"TIMESTAMP_MICROS({first} + {passed} - MOD({passed}, {self.step.value // timedelta(microseconds=1)}))"


def parse_since(given: str) -> timedelta:
    """Return the length of 7d, 24h or 2w. Raises UsageError."""
    match = SINCE.fullmatch(given.strip())
    length = int(match[1]) * UNITS[match[2]] if match else None
    if length is None or length > LONGEST:
        raise UsageError(f"--since {given[:40]!r}: give hours, days or weeks of up to ten years, such as 24h, 7d or 2w")
    return length
