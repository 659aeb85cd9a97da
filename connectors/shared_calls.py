"""One call of BigQuery for all buckets of a process that wait for it: BigQuery bills what a read scans, not its rows.

A process takes its buckets at the same time. What a bucket asks for must begin after the step before it: its table is
read after its older write streams were finalized. So a bucket that comes while a call is running waits for the next
one, which is for all that have come until it begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["SharedCalls"]

Wanted = TypeVar("Wanted")
Result = TypeVar("Result")


class SharedCalls:
    """Calls that threads share. A part of a run's state."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, list[tuple[Any, Future[Any]]]] = {}
        self._running: set[Hashable] = set()

    def result(self, about: Hashable, wanted: Wanted, call: Callable[[Sequence[Wanted]], Sequence[Result]]) -> Result:
        """Return the result for `wanted` of a call that begins from now on, shared with other threads that ask `about`.

        `call` returns one result for each of several that are wanted. If it raises, all of them raise.
        """
        mine: Future[Result] = Future()
        with self._changed:
            self._waiting.setdefault(about, []).append((wanted, mine))
            self._changed.wait_for(lambda: mine.done() or about not in self._running)
            if mine.done():
                return mine.result()
            self._running.add(about)
            requests = self._waiting.pop(about)
        try:
            for (_, future), result in zip(requests, call([each for each, _ in requests]), strict=True):
                future.set_result(result)
        except BaseException as error:
            for _, future in requests:
                future.set_exception(error)
        finally:
            with self._changed:
                self._running.discard(about)
                self._changed.notify_all()
        return mine.result()

    def close(self) -> None:
        """Nothing to release."""
