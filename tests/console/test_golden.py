"""What a person sees, on terminals of 80x24 and 140x40 and in a pipe, is what the golden files say.

To write them again after a change, and look at the difference: python -m tests.console.test_golden
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from console.report import print_rows, print_summary
from console.stream_progress import Rate
from console.terminal import Terminal
from contracts.errors import UsageError
from transforms.progress import Status

GOLDEN = Path(__file__).parent / "golden"
SCREENS: dict[str, dict[str, Any]] = {
    "80x24": {"force_terminal": True, "width": 80, "height": 24},
    "140x40": {"force_terminal": True, "width": 140, "height": 40},
    "pipe": {"force_terminal": False},
}


def counts(read: int, written: int, duplicate: int, **codes: int) -> dict[str, Any]:
    doors = {"read": read, "written": written, "duplicate": duplicate, "dead_letter": sum(codes.values())}
    return {**doors, "dead_letter_by_code": codes}


SUMMARY = {
    "run_id": "batch-20260131T120000-a1b2c3",
    "state": "done",
    "seconds": 7.04,
    "tables": {
        "battery_readings_of_all_stations": counts(1_234_567, 1_234_567, 0),
        "customers": counts(1_020, 985, 20, missing_required=5, invalid_value=10),
        "user_events_streaming": counts(15_806, 15_000, 380, invalid_encoding=54, malformed_json=318, wrong_type=54),
    },
    "passed_over": {"count": 1, "files": [{"uri": "gs://bikes/raw/Notes about the stations.docx"}]},
}
WIDE = [
    {
        "_source": "gs://ecommerce-data-lake/raw/rides.ndjson",
        "ride_id": "R-0001",
        "started_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "station": {"id": "S-17", "name": "Town hall"},
        "price": Decimal("3.500000000"),
        "note": None,
        "member": True,
    }
]
NARROW = [
    {"category": "Electronics", "revenue": Decimal("1030935.690000000"), "transactions": 3_321},
    {"category": "unknown", "revenue": Decimal("12.000000000"), "transactions": 7},
]
STATUS = Status(40, 4_800, 8_000, 3_960, 0, 40, waiting="BigQuery refuses appends to bikes.rides (7 tries): quota")


def status(console: Console) -> None:
    terminal = Terminal()
    terminal.progress = console
    terminal.log(Rate().line(STATUS))


def error(console: Console) -> None:
    terminal = Terminal()
    terminal.progress = console
    terminal.log_error(UsageError("--input: there is no folder /home/me/rides; give the folder of your files"))


SCENES: dict[str, Callable[[Console], None]] = {
    "summary": lambda console: print_summary(console, SUMMARY),
    "failed": lambda console: print_summary(console, {**SUMMARY, "state": "failed", "tables": {}, "why": "disk full"}),
    "wide": lambda console: print_rows(console, "", WIDE),
    "narrow": lambda console: print_rows(console, "revenue by category", NARROW),
    "status": status,
    "error": error,
}


def drawn(scene: str, screen: str) -> str:
    text = io.StringIO()
    SCENES[scene](Console(file=text, color_system=None, **SCREENS[screen]))
    return text.getvalue()


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scene", SCENES)
def test_a_screen_is_as_in_its_golden_file(scene: str, screen: str) -> None:
    assert drawn(scene, screen) == (GOLDEN / f"{scene}.{screen}.txt").read_text()


if __name__ == "__main__":
    for scene_name in SCENES:
        for screen_name in SCREENS:
            (GOLDEN / f"{scene_name}.{screen_name}.txt").write_text(drawn(scene_name, screen_name))
