"""Which rows of a run later runs may have replaced, or written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from operations.reconcile.lines import Line

__all__ = ["written_again", "written_later"]


def written_later(lines: Sequence[Line], runs: Sequence[str]) -> dict[str, int]:
    """Return for each run how many rows the runs after it have written: that many of its rows may be replaced."""
    written: Counter[str] = Counter()
    for line in lines:
        written[line.run] += line.written
    return {run: sum(written[other] for other in runs[number + 1 :]) for number, run in enumerate(runs)}


def written_again(lines: Sequence[Line]) -> Counter[tuple[str, str]]:
    """Return for each run and source how many rows the runs after it have written of the same version of the file."""
    written, again = Counter[tuple[str, int | None]](), Counter[tuple[str, str]]()
    for line in reversed(lines):
        again[line.run, line.source] = written[line.source, line.generation]
        written[line.source, line.generation] += line.written
    return again
