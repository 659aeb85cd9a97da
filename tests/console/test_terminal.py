"""Messages and steps: on a terminal words stay whole, in a pipe lines stay whole."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from console.terminal import Terminal

LONG = (
    "--input: there is no folder gs://a-bucket/" + "part/" * 20 + " of your files; give the folder that contains them"
)


def terminal(is_terminal: bool, width: int = 40) -> tuple[Terminal, io.StringIO]:
    screen, created = io.StringIO(), Terminal()
    created.progress = Console(file=screen, force_terminal=is_terminal, width=width, color_system=None)
    return created, screen


def test_no_word_is_broken_on_a_terminal() -> None:
    created, screen = terminal(True)
    created.log_error(LONG)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 2
    assert " ".join(line.strip() for line in lines).split() == ["error:", *LONG.split()]
    assert "gs://a-bucket/" + "part/" * 20 in [word for line in lines for word in line.split()]


def test_a_message_is_one_line_in_a_pipe() -> None:
    created, screen = terminal(False)
    created.log(LONG)
    assert screen.getvalue() == f"{LONG}\n"


def test_a_step_ends_with_a_tick_and_its_seconds() -> None:
    created, screen = terminal(True, 80)
    with created.step("local cloud: Kafka"):
        pass
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"✓ local cloud: Kafka  0\.\d s\n$", text)


def test_a_step_that_fails_gets_no_tick() -> None:
    created, screen = terminal(True, 80)
    with pytest.raises(OSError, match="full"), created.step("files"):
        raise OSError("full")
    assert "✓" not in screen.getvalue()


def test_a_step_prints_nothing_in_a_pipe() -> None:
    created, screen = terminal(False)
    with created.step("files"):
        pass
    assert screen.getvalue() == ""
