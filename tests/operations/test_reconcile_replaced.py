"""Which rows of a run the lines of later runs explain."""

from __future__ import annotations

from datetime import UTC, datetime

from operations.reconcile.lines import Line
from operations.reconcile.replaced import written_again, written_later

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def line(run: str, source: str, generation: int, written: int) -> Line:
    counts = (generation, 1, written, written, 0, 0, 0, 0, None, None)
    return Line(run, "batch", "loaded", "t", "d", source, *counts, NOW, NOW)


def test_a_later_run_of_the_same_version_of_a_file_explains_missing_rows() -> None:
    lines = [line("1", "a", 1, 10), line("1", "b", 1, 5), line("2", "a", 2, 7), line("3", "a", 1, 3)]
    again = written_again(lines)
    assert {about: again[about] for about in again if again[about]} == {("1", "a"): 3}


def test_all_rows_of_later_runs_may_have_replaced_earlier_ones() -> None:
    lines = [line("1", "a", 1, 10), line("1", "b", 1, 5), line("2", "a", 2, 7), line("3", "a", 1, 3)]
    assert written_later(lines, ["1", "2", "3"]) == {"1": 10, "2": 3, "3": 0}
