"""Findings of doctor, and how checks run: at the same time, each for a limited time, and none hides another."""

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
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was checked, what is wrong with it, and how to fix it."""

    about: str
    mark: Mark
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """One check. An error that `look` raises becomes a finding, whose fix is `fix`."""

    about: str
    look: Callable[[], Iterable[Finding]]
    fix: str = ""

    def failed(self, error: Exception) -> Finding:
        """The finding that the check failed with an error."""
        known = error if isinstance(error, ReportedError) else reported(error)
        message = str(known or f"{type(error).__name__}: {error}")
        return Finding(self.about, Mark.WRONG, " ".join(message.split()), self.fix)


@dataclass
class _Look:
    check: Check
    findings: list[Finding] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            for finding in self.check.look():
                self.findings.append(finding)
        except Exception as error:
            self.findings.append(self.check.failed(error))
        self.done.set()


def examine(checks: Iterable[Check], seconds: float = LIMIT_SECONDS) -> list[Finding]:
    """Return the findings of all checks, in their order. They run at the same time. One that takes
    longer than `seconds` is reported as such, after what it had found by then.
    """
    looks = [_Look(check) for check in checks]
    for look in looks:
        # A daemon: a client that retries for minutes does not keep the program from ending.
        threading.Thread(target=look.run, name=f"doctor {look.check.about}", daemon=True).start()
    deadline = time.monotonic() + seconds
    findings: list[Finding] = []
    for look in looks:
        late = not look.done.wait(max(0.0, deadline - time.monotonic()))
        findings += look.findings
        if late:
            findings.append(Finding(look.check.about, Mark.WRONG, f"no answer within {seconds:g} s", look.check.fix))
    return findings
