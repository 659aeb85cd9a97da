"""How often and how long a service is asked again, within a step: an engine retries a failed step at once, or never.

All retries of the connectors go through RetryPolicy, which reports each failed attempt to transforms/waits.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.api_core import exceptions

from transforms import waits

__all__ = [
    "SAME_ERROR_SECONDS",
    "Attempt",
    "DeadlineExceeded",
    "RetryPolicy",
    "Unrecoverable",
    "is_transient",
    "pauses",
]

SAME_ERROR_SECONDS = 120.0
"""How long the same internal error may still pass. Google's clients themselves retry for 600 s."""
TRANSIENT = (exceptions.ServerError, exceptions.TooManyRequests, exceptions.Aborted, exceptions.Cancelled)
INTERNAL = (exceptions.InternalServerError, exceptions.Unknown)
"""Transient errors that a defect of the service raises as well: then they never pass."""
Result = TypeVar("Result")


class DeadlineExceeded(Exception):
    """No attempt succeeded before the deadline. `__cause__` is the error of the last one, if there was one."""


class Unrecoverable(DeadlineExceeded):
    """The service has raised the same internal error for so long that it will not pass."""


def is_transient(error: Exception) -> bool:
    """Return whether an error of Google's clients may pass."""
    return isinstance(error, TRANSIENT)


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait between attempts: `first`, then twice as long each time, at most `longest`."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(2 * pause, longest)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries with growing pauses until `deadline` seconds have passed. All times are in seconds. It pickles."""

    deadline: float
    """How long to retry in all; 0 means one attempt."""
    call_timeout: float = 20.0
    """How long a single call may take. Clients of gRPC take it as their timeout, and must not retry themselves."""
    first_pause: float = 0.1
    longest_pause: float = 5.0
    same_error: float = SAME_ERROR_SECONDS
    """How long to retry the same internal error."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def attempts(self, what: str, wait_key: Hashable | None = None) -> Iterator[Attempt]:
        """Yield attempts until the caller leaves the loop, or until `Attempt.failed` raises.

        `what` says what is refused, for people: "BigQuery refuses the appends to shop.events". It is
        shown as a wait until the loop ends; with `wait_key`, until a loop with the same key succeeds.
        """
        attempt = Attempt(self, what, object() if wait_key is None else wait_key)
        try:
            while True:
                yield attempt
        finally:
            if wait_key is None or not attempt.gave_up:
                waits.over(attempt.wait_key)

    def call(
        self,
        what: str,
        request: Callable[[], Result],
        retryable: Callable[[Exception], bool] = is_transient,
        wait_key: Hashable | None = None,
    ) -> Result:
        """Return the result of `request`, called again after each error that is `retryable`; `what` as in `attempts`.

        Raises DeadlineExceeded from the last error, and any error that is not retryable.
        """
        for attempt in self.attempts(what, wait_key):
            try:
                return request()
            except Exception as error:
                if not retryable(error):
                    raise
                attempt.failed(str(error) or type(error).__name__, error)
        raise AssertionError("attempts never end by themselves")


class Attempt:
    """The current attempt under a RetryPolicy. Call `failed` if it fails, leave the loop if it succeeds."""

    def __init__(self, policy: RetryPolicy, what: str, wait_key: Hashable) -> None:
        self._policy, self._what = policy, what
        self._pauses = pauses(policy.first_pause, policy.longest_pause)
        self._give_up_at = policy.clock() + policy.deadline
        self._reason, self._same_since = "", 0.0
        self.wait_key = wait_key
        self.gave_up = False
        """Whether `failed` has raised."""

    def failed(self, reason: str, error: Exception | None = None, internal: bool = False) -> None:
        """Report the failure and wait before the next attempt.

        `internal` marks an error that may be a defect of the service, as an `error` of INTERNAL does. Raises
        DeadlineExceeded if the next attempt would be too late, Unrecoverable if the same internal error lasts.
        """
        policy, now = self._policy, self._policy.clock()
        reason = waits.failed(self.wait_key, self._what, reason).reason
        if reason != self._reason:
            self._reason, self._same_since = reason, now
        pause = next(self._pauses)
        self.gave_up = True
        if (internal or isinstance(error, INTERNAL)) and now - self._same_since > policy.same_error:
            raise Unrecoverable(f"{self._what}, for more than {policy.same_error:g} s: {reason}") from error
        if now + pause > self._give_up_at:
            raise DeadlineExceeded(f"{self._what}: {reason}") from error
        self.gave_up = False
        policy.sleep(pause)
