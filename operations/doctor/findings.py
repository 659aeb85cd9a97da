"""What doctor finds, and how it looks: checks run side by side, each for a limited time, and none hides another."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from connectors.google.errors import reported
from contracts.errors import ReportedError

__all__ = ["LIMIT_SECONDS", "Check", "Finding", "Mark", "examine"]

LIMIT_SECONDS = 40.0
"""For one check. Kafka's clients say within 30 s that no broker answers."""


class Mark(enum.Enum):
    """What a finding amounts to."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what is the matter with it, and how to fix that."""

    about: str
    mark: Mark
    says: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """Something to look at. What `look` raises is a finding too, and `fix` says what helps then."""

    about: str
    look: Callable[[], Iterable[Finding]]
    fix: str = ""

    def failed(self, error: Exception) -> Finding:
        """The finding that the check could not be made."""
        known = error if isinstance(error, ReportedError) else reported(error)
        says = str(known or f"{type(error).__name__}: {error}")
        return Finding(self.about, Mark.WRONG, " ".join(says.split()), self.fix)


@dataclass
class _Look:
    check: Check
    found: list[Finding] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            for finding in self.check.look():
                self.found.append(finding)
        except Exception as error:
            self.found.append(self.check.failed(error))
        self.done.set()


def examine(checks: Iterable[Check], seconds: float = LIMIT_SECONDS) -> list[Finding]:
    """What all checks find, in their order. They run at the same time; one that takes longer than `seconds` is told
    of as such, with what it had found by then.
    """
    looks = [_Look(check) for check in checks]
    for look in looks:
        # A daemon: a client that retries for minutes does not keep the program from ending.
        threading.Thread(target=look.run, name=f"doctor {look.check.about}", daemon=True).start()
    deadline = time.monotonic() + seconds
    findings: list[Finding] = []
    for look in looks:
        late = not look.done.wait(max(0.0, deadline - time.monotonic()))
        findings += look.found
        if late:
            findings.append(Finding(look.check.about, Mark.WRONG, f"no answer within {seconds:g} s", look.check.fix))
    return findings
