"""The run of the tests that need one: `replace(RUN, …)` with what a test is about."""

from __future__ import annotations

from datetime import UTC, datetime

from transforms.run import Run

__all__ = ["RUN"]

RUN = Run(
    run_id="run",
    token="token",
    pipeline="batch",
    started_at=datetime(2026, 6, 15, tzinfo=UTC),
    project="project",
    location="US",
    operations_dataset="operations",
    processed="",
    dead_letters="",
    max_record_bytes=1_000_000,
    max_dead_letter_ratio=0.5,
)
