"""One process runs many commands, in any order: each prints to the streams of its time and leaves no change behind."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import launcher
from commands import query
from commands.process_state import environment, interruptible, quiet
from console.terminal import Terminal
from tests import launching
from tests.in_process import Launch, launch
from tests.process_state import process_state

UNKNOWN = (["fetch"], 2, "error: unknown command 'fetch'; ")
REFUSED_BATCH = (["batch", "--project=p", "--location=EU"], 2, "error: ")
REFUSED_STREAM = (["stream", "--runner=PrismRunner", "--project=p"], 2, "error: ")
NO_PLACE = (["query", "SELECT 1"], 2, "error: --project, --location ")
HELP = (["doctor", "--help"], 0, "")
GENERATE = (["generate", "--customers=1", "--products=0", "--transactions=0", "--events=0"], 0, "wrote ")
COMMANDS = (UNKNOWN, REFUSED_BATCH, REFUSED_STREAM, NO_PLACE, HELP, GENERATE)


@pytest.fixture
def run_as_query(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], Launch]:
    """Launches a command that calls a function."""

    def run(function: Callable[[], int]) -> Launch:
        monkeypatch.setattr(query, "run", lambda argv, terminal: function())
        return launch(["query"])

    return run


@pytest.mark.parametrize("commands", [COMMANDS, COMMANDS[::-1], COMMANDS[3:] + COMMANDS[:3]])
def test_commands_in_any_order_leave_the_process_unchanged(
    commands: Sequence[tuple[list[str], int, str]], tmp_path: Path
) -> None:
    for argv, code, stderr in commands:
        arguments = [*argv, f"--output={tmp_path}"] if argv[0] == "generate" else argv
        before = process_state()
        ended = launch(arguments)
        assert process_state() == before
        assert (ended.code, ended.stderr[: len(stderr)]) == (code, stderr), ended


def test_a_command_prints_to_the_streams_of_its_time() -> None:
    texts = []
    for _ in range(2):
        stdout, stderr = io.StringIO(), io.StringIO()
        with redirect_stdout(stdout), redirect_stderr(stderr):
            assert launcher.main(["--help"]) == 0
            assert launcher.main(["fetch"]) == 2
        texts.append((stdout.getvalue(), stderr.getvalue()))
    assert texts[0] == texts[1]
    assert texts[0][0].startswith("Files and Kafka into BigQuery")
    assert texts[0][1].startswith("error: unknown command 'fetch'")


def test_all_that_a_command_may_configure_is_restored(run_as_query: Callable[[Callable[[], int]], Launch]) -> None:
    def configure() -> int:
        os.environ["SHOP_TEST"] = "set"
        os.environ.pop("PATH")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.getLogger("a.new.one").setLevel(logging.DEBUG)
        logging.getLogger().addHandler(logging.NullHandler())
        quiet()
        interruptible()
        return 7

    before = process_state()
    assert run_as_query(configure).code == 7
    assert process_state() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_command_alone(
    number: signal.Signals, run_as_query: Callable[[Callable[[], int]], Launch]
) -> None:
    def interrupted() -> int:
        signal.raise_signal(number)
        return 0

    before = process_state()
    assert run_as_query(interrupted) == Launch(1, "", "interrupted\n")
    assert process_state() == before


def test_an_unexpected_error_is_raised_and_leaves_the_process_unchanged(
    run_as_query: Callable[[Callable[[], int]], Launch],
) -> None:
    def fail() -> int:
        quiet()
        raise RuntimeError("a defect")

    before = process_state()
    with pytest.raises(RuntimeError, match="a defect"):
        run_as_query(fail)
    assert process_state() == before


def test_warnings_go_to_stderr_until_the_command_is_quiet(run_as_query: Callable[[Callable[[], int]], Launch]) -> None:
    def warn() -> int:
        logging.getLogger("shop").warning("heard")
        logging.getLogger("kafka").error("repeats what is reported")
        quiet()
        logging.getLogger("shop").error("not heard")
        return 0

    for _ in range(2):
        assert run_as_query(warn) == Launch(0, "", "WARNING shop: heard\n")


def test_quiet_threads_end_without_a_word(run_as_query: Callable[[Callable[[], int]], Launch]) -> None:
    def end_a_thread() -> int:
        quiet()
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        return 0

    assert run_as_query(end_a_thread) == Launch(0, "", "")


def test_variables_are_set_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_OLD", "before")
    monkeypatch.delenv("SHOP_NEW", raising=False)
    with environment({"SHOP_OLD": "within", "SHOP_NEW": "within"}):
        assert (os.environ["SHOP_OLD"], os.environ["SHOP_NEW"]) == ("within", "within")
    assert (os.environ["SHOP_OLD"], os.environ.get("SHOP_NEW")) == ("before", None)


def test_a_terminal_follows_the_streams(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.log("progress")
    terminal.output.print("result")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "progress\n")


def test_a_process_of_its_own_ends_alike() -> None:
    argv = ["query", "SELECT 1"]
    forked, called = launching.run(argv), launch(argv)
    assert (forked.returncode, forked.stdout, forked.stderr) == (called.code, called.stdout, called.stderr)
