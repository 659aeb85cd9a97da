"""`--help` of every command: it names every option, and its examples are understood."""

from __future__ import annotations

import shlex

import pytest

from launcher import COMMANDS, main
from pipelines.help import BEAM_OPTIONS, PIPELINES
from pipelines.options import OperationsOptions, PipelineArguments, StreamOptions, beam_arguments, check_known


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    try:
        code: object = main([command, "--help"])
    except SystemExit as ended:  # argparse's own
        code = ended.code
    assert code == 0
    return capsys.readouterr().out


def examples(text: str, command: str) -> list[list[str]]:
    """The arguments of the examples of one command."""
    lines = text.replace("\\\n", " ").splitlines()
    start = f"  python launcher.py {command}"
    return [shlex.split(line.removeprefix(start)) for line in lines if line.startswith(start)]


def every_option() -> PipelineArguments:
    parser = PipelineArguments(conflict_handler="resolve", allow_abbrev=False)
    beam_arguments(parser)
    return parser


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys)
    assert text.startswith(f"usage: launcher.py {command}")
    assert examples(text, command)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_help_names_our_options_and_those_of_beam_that_matter(
    pipeline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(pipeline, capsys)
    ours = PipelineArguments(add_help=False)
    for options in (OperationsOptions, StreamOptions) if pipeline == "stream" else (OperationsOptions,):
        options._add_argparse_args(ours)
    for name in (*ours._option_string_actions, *BEAM_OPTIONS):
        assert f"\n  {name} " in text or f"\n  {name}\n" in text, name
    assert set(BEAM_OPTIONS) <= set(every_option()._option_string_actions)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_examples_of_a_pipeline_are_understood(pipeline: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = examples(help_of(pipeline, capsys), pipeline)
    assert len(found) >= 2
    for arguments in found:
        check_known(arguments, every_option())
