"""Errors that are reported in one line, without a traceback, told apart by what helps: another command line, waiting
for somebody else, or trying again.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["Conflict", "ReportedError", "Unavailable", "UsageError"]


class ReportedError(Exception):
    """An error whose message says all: the launcher prints it and exits with `exit_code`. Raise one of its kinds."""

    exit_code: ClassVar[int] = 1

    @property
    def lines(self) -> list[str]:
        """The message; an error with several problems has one line for each."""
        return [str(self)]


class UsageError(ReportedError):
    """A command line, a configuration, a contract or a permission is wrong: the same again fails again."""

    exit_code = 2


class Conflict(ReportedError):
    """Somebody else holds what is asked for: a table, a consumer group, the name of a job."""

    exit_code = 2


class Unavailable(ReportedError):
    """A service does not answer, or not for the moment: the same may succeed later."""

    exit_code = 5
