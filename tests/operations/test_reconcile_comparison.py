"""A run may end while the ledger and the tables are compared: what a second look does not find is no contradiction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, cast

from operations.reconcile.comparison import Scope, compare
from operations.reconcile.findings import Code, Finding
from operations.reconcile.lines import Line

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINE = Line("r", "batch", "loaded", "t", "d", "a.csv", 1, 1, 1, 1, 0, 0, 0, 0, None, None, NOW, NOW)
LOST = Finding(Code.ROWS_MISSING, "d.t", "a.csv", "r", 1, 2, 1)
ENDED = Finding(Code.ROWS_UNKNOWN, "d.t", "b.csv", "s", 3, 0, 3)
BEGUN = Finding(Code.ROWS_UNKNOWN, "d.t", "c.csv", "u", 3, 0, 3)


class Books:
    """What one look finds."""

    def __init__(self, *findings: Finding) -> None:
        self.lines = [LINE]
        self._findings = findings

    def findings(self) -> Sequence[Finding]:
        return self._findings


class Looks(Scope):
    """A scope whose books are others each time; `seen` are those that are left."""

    seen: list[Books]

    def books(self) -> Any:
        return self.seen.pop(0)


def found(run: str | None, *looks: Books) -> list[Finding]:
    """What `compare` finds in these looks, of which it must use all."""
    nothing = cast(Any, None)
    scope = Looks(
        warehouse=nothing,
        storage=nothing,
        operations_dataset="o",
        tables={},
        datasets={},
        since=NOW,
        run=run,
        files=False,
        values=False,
        sample=None,
    )
    object.__setattr__(scope, "seen", list(looks))
    answer = compare(scope, lambda _: nullcontext(), lambda _: None)
    assert scope.seen == []
    return list(answer.findings)


def test_a_contradiction_counts_if_a_second_look_finds_it() -> None:
    assert found(None, Books(LOST, ENDED), Books(LOST, BEGUN)) == [LOST]
    assert found(None, Books(ENDED), Books()) == []
    assert found("r", Books(LOST, ENDED), Books(LOST, ENDED)) == [LOST]


def test_one_look_is_enough_if_nothing_is_found() -> None:
    assert found(None, Books()) == []
