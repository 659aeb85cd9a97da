"""The progress of a batch, as a bar and as lines."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from operations.progress import shown
from transforms.progress import PROGRESS


def quiet(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("width", [80, 110])
def test_a_bar_on_a_terminal(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with shown(console, quiet, 2_000_000):
        PROGRESS.add(bytes=500_000, records=1_234)
        PROGRESS.add(dead_letters=5)
        time.sleep(0.6)
        PROGRESS.add(bytes=1_500_000)
        time.sleep(0.6)
        PROGRESS.loading = True
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    assert all(len(line) <= width for line in drawn)
    for step, done in (("reading", "0.5"), ("deduplicating", "2.0"), ("loading", "2.0")):
        assert any(
            re.fullmatch(rf"{step} +[━╸╺]+ +{done}/2.0 MB +1,234 records +5 dead letters +\d+ s *", line)
            for line in drawn
        ), step


def test_lines_elsewhere() -> None:
    said: list[str] = []
    with shown(Console(file=io.StringIO()), said.append, 2_000_000, seconds=0.1):
        PROGRESS.add(bytes=500_000, records=1_234, dead_letters=5)
        time.sleep(0.25)
    assert said[-1] == "reading: 500.0 kB of 2.0 MB, 1,234 records, 5 dead letters, 0 s"
    count = len(said)
    time.sleep(0.25)
    assert len(said) == count


def test_every_run_begins_anew() -> None:
    for _ in range(2):
        with shown(Console(file=io.StringIO()), quiet, 10):
            assert (PROGRESS.bytes, PROGRESS.records, PROGRESS.dead_letters, PROGRESS.step) == (0, 0, 0, "reading")
            PROGRESS.add(bytes=10, records=1, dead_letters=1)
            PROGRESS.loading = True
