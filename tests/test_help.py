"""`--help` of every command: it names every option, and its examples are understood."""

from __future__ import annotations

import re
import shlex

import pytest

from launcher import COMMANDS, main
from pipelines.runs.argument_parser import PipelineArguments
from pipelines.runs.command_line import CommandLine, pipeline_parser
from pipelines.runs.help import ALWAYS_SHOWN, BATCH_ONLY, BEAM_OPTIONS, PIPELINES
from pipelines.runs.options import OperationsOptions, StreamOptions


def stream_only() -> set[str]:
    parser = PipelineArguments(add_help=False)
    StreamOptions._add_argparse_args(parser)
    return set(parser._option_string_actions)


STREAM_ONLY = stream_only()


def help_of(command: str, capsys: pytest.CaptureFixture[str], option: str = "--help") -> str:
    try:
        code: object = main([command, option])
    except SystemExit as ended:  # argparse's own
        code = ended.code
    assert code == 0
    return capsys.readouterr().out


def examples(text: str, command: str) -> list[list[str]]:
    """The arguments of the examples of one command."""
    lines = text.replace("\\\n", " ").splitlines()
    start = f"  python3 launcher.py {command}"
    return [shlex.split(line.removeprefix(start)) for line in lines if line.startswith(start)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys)
    assert text.startswith(f"usage: launcher.py {command}")
    assert examples(text, command)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_help_names_the_options_of_the_pipeline_first(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = PipelineArguments(add_help=False)
    for options in (OperationsOptions, StreamOptions) if pipeline == "stream" else (OperationsOptions,):
        options._add_argparse_args(parser)
    own = {*parser._option_string_actions, "--dry_run", *ALWAYS_SHOWN[pipeline]}
    own -= BATCH_ONLY if pipeline == "stream" else set()
    text = help_of(pipeline, capsys)
    assert set(re.findall(r"^  (--\w+)", text, re.MULTILINE)) == own
    assert text.index("\noptions of both pipelines:") > text.index(f"\noptions of {pipeline}:")
    assert len(text.splitlines()) < 100


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_help_all_names_every_option_of_beam(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(pipeline, capsys, "--help_all")
    actions = pipeline_parser()._actions
    assert set(BEAM_OPTIONS) <= {option for action in actions for option in action.option_strings}
    of_the_other = (BATCH_ONLY if pipeline == "stream" else STREAM_ONLY) | {"--help"}
    for action in actions:
        if of_the_other.isdisjoint(action.option_strings):
            assert any(re.search(rf"(^|[ ,]){name}\b", text, re.MULTILINE) for name in action.option_strings), action


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_examples_of_a_pipeline_are_understood(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    command_lines = examples(help_of(pipeline, capsys), pipeline)
    assert len(command_lines) >= 2
    for arguments in command_lines:
        assert CommandLine.parse([argument for argument in arguments if argument != "--dry_run"]).given
