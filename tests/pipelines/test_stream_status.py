"""What `stream status` prints: the lines of its own run, or of which run they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines.stream.status import HeldLease, StreamStatus

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINE = {
    "run_id": "before",
    "source": "kafka://t/0",
    "first_offset": 0,
    "last_offset": 9,
    "written": 7,
    "duplicate": 2,
    "dead_letter": 1,
    "recorded_at": AT,
}


def last_lines(lease: HeldLease | None, ledger: dict[str, Any] | None) -> list[str]:
    status = StreamStatus(job=None, launcher_version="1", group="g", lag={}, lease=lease, ledger=ledger)
    return status.lines()[-2:]


def test_a_line_of_a_run_that_has_ended_says_so() -> None:
    assert last_lines(None, LINE) == [
        "lease    free",
        "ledger   kafka://t/0 offsets 0 to 9: written 7, duplicates 2, dead letters 1, at 2026-01-31 12:00:00,"
        " by run before, which has ended",
    ]


def test_a_run_that_has_the_lease_shows_its_own_lines_only() -> None:
    held = HeldLease("now", AT)
    assert last_lines(held, None) == ["lease    run now, until 12:00:00", "ledger   no line of this run yet"]
    assert last_lines(held, LINE)[1].endswith(", at 2026-01-31 12:00:00")


def test_without_any_line() -> None:
    assert last_lines(None, None)[1] == "ledger   no line yet"
