"""Old lines of a stream become one a day: what the ledger says stays, and its size does not grow with the seconds."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.bookkeeping.ledger import LOST, LedgerTable
from connectors.bookkeeping.roll_up import roll_up
from tests.e2e.test_ledger_current import BEGIN, Ledger, ledger, line
from transforms.tally import Tally

__all__ = ["ledger"]
pytestmark = pytest.mark.e2e
DAY = 86_400
IDENTITY = {"dataset": "d", "cluster": "c", "topic_id": "i"}


def year(days: int, partitions: int, lines_a_day: int) -> list[dict[str, Any]]:
    """The lines of a stream of `days` days: each of ten offsets, of which one is a duplicate and one refused."""
    counts = {"read": 10, "written": 8, "duplicate": 1, "dead_letter": 1, "dead_letter_by_code": '{"wrong_type": 1}'}
    detail = json.dumps({"latency": {"5": 6, "7": 2}, "duplicate_differs": 1})
    return [
        line(
            "stream",
            10 * number,
            10 * number + 9,
            number * DAY / lines_a_day,
            **counts | IDENTITY | {"source": f"kafka://t/{partition}", "detail": detail},
        )
        for partition in range(partitions)
        for number in range(days * lines_a_day)
    ]


def rows(ledger: Ledger) -> int:
    return int(ledger.warehouse.query(f"SELECT COUNT(*) AS n FROM `{ledger.dataset}`.ledger")[0]["n"])


def sums(ledger: Ledger) -> list[tuple[Any, ...]]:
    """What the summary of the run has."""
    table, run = LedgerTable(ledger.warehouse, ledger.dataset), ledger.run("stream")
    found = table.sums(run, {"t": "d"}, table.began(run))
    names = ("source", "read", "written", "dead_letter_by_code", "detail")
    return sorted((tuple(row[name] for name in names) for row in found), key=str)


def test_a_year_of_lines_becomes_a_line_a_day(ledger: Ledger) -> None:
    """Of some days: each further day is one line more for each partition."""
    ledger.append(*year(4, 2, 10))
    before = sums(ledger)
    now = BEGIN + timedelta(days=4, hours=1)
    assert [roll_up(ledger.warehouse, ledger.dataset, now, most_days=2) for _ in range(3)] == [2, 1, 0]
    assert rows(ledger) == 2 * (3 + 10)
    assert sums(ledger) == before
    assert before[0] == (
        *("kafka://t/0", 400, 320, {"wrong_type": 40}),
        {"latency": {"5": 240, "7": 80}, "duplicate_differs": 40},
    )


def test_what_was_read_again_and_what_is_missing_stay_parts(ledger: Ledger) -> None:
    lines = [
        line("a", 0, 9, 0),
        line("a", 10, 19, 1),
        line("b", 20, 29, 2),
        line("a", 40, 49, 3),
        line("a", 45, 59, 4, read=3),
        line("a", 30, 39, 5, kind=LOST),
        line("a", 0, 9, 6, source="kafka://t/1"),
        line("a", 60, 69, 3 * DAY),
    ]
    ledger.append(*lines)
    before = ledger.warehouse.query(f"SELECT SUM(`read`) AS n FROM `{ledger.dataset}`.ledger_current")
    for _ in range(2):
        roll_up(ledger.warehouse, ledger.dataset, BEGIN + timedelta(days=4))
    found = [(*row[2:5], row[5]) for row in ledger.current() if row[0] != LOST]
    t = "kafka://t/0"
    assert found == [(t, 0, 19, 2), (t, 20, 29, 1), (t, 40, 59, 3), (t, 60, 69, 1), ("kafka://t/1", 0, 9, 1)]
    assert ledger.warehouse.query(f"SELECT SUM(`read`) AS n FROM `{ledger.dataset}`.ledger_current") == before
    first = LedgerTable(ledger.warehouse, ledger.dataset).first_recorded({t: 15})
    assert first == {t: BEGIN}  # not the time of the day's last line


def test_a_later_start_reads_again_what_is_rolled_up(ledger: Ledger) -> None:
    ledger.append(*year(1, 1, 20))
    roll_up(ledger.warehouse, ledger.dataset, BEGIN + timedelta(days=2, hours=1))
    ledger.append(line("again", 150, 199, 3 * DAY, read=50, written=50, **IDENTITY | {"source": "kafka://t/0"}))
    table = LedgerTable(ledger.warehouse, ledger.dataset)
    total = [table.total(run, {"t": "d"}, table.began(run)) for run in map(ledger.run, ("stream", "again"))]
    assert total == [Tally(150, 120, 15, {"": 15}), Tally(50, 50)]
