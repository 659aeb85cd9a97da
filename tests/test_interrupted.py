"""What the launcher says of a command that was interrupted: what is true of that one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import launcher
from commands import batch, query, stream
from console.terminal import Terminal

BATCH = "interrupted; no table is half written, and the same --run_id continues the run"
STREAM = "interrupted; the next start reads again what is not committed, and writes it once"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["batch"], BATCH),
        (["--pipeline=batch", "--local"], BATCH),
        (["stream", "--local"], STREAM),
        (["query", "SELECT 1"], "interrupted"),
    ],
)
def test_an_interrupted_command(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: Sequence[str], terminal: Terminal) -> int:
        raise KeyboardInterrupt

    for command in (batch, stream, query):
        monkeypatch.setattr(command, "run", interrupted)
    assert launcher.main(argv) == 1
    assert capsys.readouterr().err == f"{said}\n"
