"""Bisection: what one bad item of many makes impossible is done for all the others.

A step that works on many records at once raises where one of them is of a kind that nobody foresaw. Then the
records are halved until the ones that raise stand alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from polars.exceptions import PanicException

__all__ = ["DATA_ERRORS", "bisect"]

Item = TypeVar("Item")
Result = TypeVar("Result")

DATA_ERRORS: tuple[type[BaseException], ...] = (Exception, PanicException)
"""What data can make a step raise, MemoryError and polars' panics (no Exception) included; KeyboardInterrupt and
SystemExit are not about data."""


def bisect(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Result],
    errors: tuple[type[BaseException], ...] = DATA_ERRORS,
) -> tuple[list[Result], list[tuple[Item, BaseException]]]:
    """Call `attempt` on all of `items`, and on halves of what makes it raise one of `errors`, down to one item.

    Returns the results in order, each for a run of neighbouring items (none for a single item that raises), and the
    items that raise by themselves, in order, each with its exception. `attempt` must have no effect where it raises.
    Where k of n items raise, it is called at most 2 k (1 + log2 n) times. What is not in `errors` passes through,
    and whatever `attempt` raises for no items at all. A `range` is a sequence, and so are its slices.
    """
    results: list[Result] = []
    failures: list[tuple[Item, BaseException]] = []
    waiting = [items]
    while waiting:
        part = waiting.pop()
        try:
            results.append(attempt(part))
        except errors as error:
            if not part:
                raise
            if len(part) == 1:
                failures.append((part[0], error.with_traceback(None)))
                continue
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
    return results, failures
