"""Why a job failed, in one line: Beam gives the traceback of a step as text."""

from __future__ import annotations

import pytest

from pipelines.batch.run import reason_of

STEP = " [while running 'Load tables/Merge']"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plain", "plain"),
        ("", "RuntimeError"),
        (
            f"Traceback:\n  File x\nconnectors.sinks.attempt.RunStopped: no{STEP}\n",
            f"connectors.sinks.attempt.RunStopped: no{STEP}",
        ),
        (
            f"Traceback:\nValueError: first\n\nDuring handling\ngoogle.api_core.exceptions.NotFound: 404 no table\n"
            f"Did you mean x?\n\nLINE 1: SELECT\n               ^{STEP}",
            "google.api_core.exceptions.NotFound: 404 no table",
        ),
    ],
)
def test_the_last_exception_is_the_reason(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(text)) == reason
