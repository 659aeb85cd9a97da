"""The launcher in a terminal: a bar while it runs, the ledger when it is done."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clouds import ROOT, Cloud

pytestmark = pytest.mark.e2e


def test_a_batch_draws_its_progress(cloud: Cloud, tmp_path: Path) -> None:
    lines = [f"c{number},c{number}@example.com" for number in range(9)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer_id,email", *lines, "c9,"]))
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "launcher.py", "batch", "--runner=DirectRunner", "--local"),
            *(f"--input={tmp_path}", f"--local_dir={cloud.directory}"),
        ],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    drawn = b""
    while piece := _read(screen):
        drawn += piece
    os.close(screen)
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    size = (tmp_path / "customers.csv").stat().st_size
    assert re.search(rf"reading +━+ +0/{size} bytes +0 records +0 dead letters +0 s", text)
    assert re.search(rf"loading +━+ +{size}/{size} bytes +10 records +1 dead letters +\d+ s", text)
    assert re.search(r"\ncustomers +10 +9 +0 +1\r?\n", text)
    assert re.search(r"\ncustomers +missing_required +1\r?\n", text)


def _read(screen: int) -> bytes:
    """What was drawn since; nothing when the terminal is closed."""
    try:
        return os.read(screen, 65_536)
    except OSError:  # Linux says so
        return b""
