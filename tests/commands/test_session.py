"""What the commands print: one line each, as text."""

from __future__ import annotations

import pytest

import launcher
from commands.session import failures_explained
from console.terminal import Terminal
from contracts.errors import UsageError
from local.processes import ServiceFailed


def test_a_line_of_progress_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().log("2 files, such as [red]a\x1b]0;pwn\x07\nerror: forged[/red].csv " + "x" * 200)
    assert (
        capsys.readouterr().err == r"2 files, such as [red]a\x1b]0;pwn\x07\nerror: forged[/red].csv " + "x" * 200 + "\n"
    )


def test_an_error_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["[/x]\x1b[31m\n"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown command ")
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "[/x]" in said


def test_a_service_that_does_not_start_is_one_line_and_the_end_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as refused, failures_explained():
        raise ServiceFailed("kafka ended; its log is a.log, and ends:\nlast [but] one\n\x1b[31mlast")
    assert str(refused.value) == "kafka ended; its log is a.log, and ends:"
    Terminal().log_error(refused.value)
    assert capsys.readouterr().err.splitlines() == [
        "error: kafka ended; its log is a.log, and ends:",
        "last [but] one",
        r"\x1b[31mlast",
    ]
