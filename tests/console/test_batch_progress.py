"""The progress of a batch, as a bar and as lines."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from console.batch_progress import batch_progress
from transforms.progress import Progress


def quiet(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("width", [80, 110])
def test_a_bar_on_a_terminal(width: int) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    progress = Progress(total=2_000_000)
    with batch_progress(console, quiet, progress):
        progress.add(bytes=500_000, records=1_234)
        progress.add(dead_letters=5)
        time.sleep(0.6)
        progress.add(bytes=1_500_000)
        time.sleep(0.6)
        progress.loading = True
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n").splitlines()
    assert all(len(line) <= width for line in drawn)
    for step, done in (("reading", "0.5"), ("deduplicating", "2.0"), ("loading", "2.0")):
        assert any(
            re.fullmatch(rf"{step} +[━╸╺]+ +{done}/2.0 MB +1,234 records +5 dead letters +\d+ s *", line)
            for line in drawn
        ), step


def test_lines_elsewhere() -> None:
    said: list[str] = []
    progress = Progress(total=2_000_000)
    with batch_progress(Console(file=io.StringIO()), said.append, progress, seconds=0.1):
        progress.add(bytes=500_000, records=1_234, dead_letters=5)
        time.sleep(0.25)
    assert said[-1] == "reading: 500.0 kB of 2.0 MB, 1,234 records, 5 dead letters, 0 s"
    count = len(said)
    time.sleep(0.25)
    assert len(said) == count
