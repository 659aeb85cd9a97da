"""Each command of the launcher, and each option, that a document names is there."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from commands.contracts import ACTIONS as TOOLS
from commands.dead_letters import ACTIONS as DEAD_LETTERS
from commands.stream_jobs import ACTIONS
from launcher import COMMANDS, main
from pipelines.runs.command_line import FLINK_OPTIONS, pipeline_parser
from pipelines.runs.help import PIPELINES
from tests.test_help import help_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WORDS = {"stream": set(ACTIONS), "local": {"up", "down", "status", "topic"}, "dead-letters": set(DEAD_LETTERS)}
"""What may follow a command."""
OF_OTHERS = {"--alsoStartLoopbackWorker", "--build-arg", "--container_executable", "--service_port"}
"""Of Beam's expansion service, of Docker, of Beam's worker pool."""
OF_THE_LAUNCHER = {"--debug", "--version", "--help_all"}
OPTION = re.compile(r"--[A-Za-z][\w-]*")


@functools.cache
def options_of_pipelines() -> set[str]:
    """Those of batch, stream and doctor, Beam's and its runners' included."""
    return {*pipeline_parser()._option_string_actions, *(f"--{name}" for name in FLINK_OPTIONS), "--format"}


def options_of_tool(name: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Those of `contracts NAME`."""
    with pytest.raises(SystemExit):
        main(["contracts", name, "--help"])
    return set(OPTION.findall(capsys.readouterr().out))


def named(text: str) -> list[tuple[str, str]]:
    """The commands that a document names, and what follows each."""
    whole = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"launcher\.py (?:--pipeline=)?([a-z][a-z-]*)([^`\n]*)", whole)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, rest in named(document.read_text()):
        assert command in COMMANDS
        if command == "contracts" and (match := re.match(r" ([a-z]+)\b(.*)", rest)):
            assert match[1] in TOOLS, rest
            assert set(OPTION.findall(match[2])) <= options_of_tool(match[1], capsys), rest
            continue
        words = re.match(r"[a-z |-]*?(?= -|[^a-z |-]|$)", rest)[0].partition("topic")[:2]  # type: ignore[index]  # then its name
        words = " ".join(words).split()
        assert set(words) - {"|"} <= WORDS.get(command, set()), rest
        pipeline = command in (*PIPELINES, "doctor")
        known = (
            options_of_pipelines() | OF_THE_LAUNCHER | {"--dry_run"}
            if pipeline
            else set(OPTION.findall(help_of(command, capsys)))
        )
        assert set(OPTION.findall(rest)) <= known, command


def test_options_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    known = options_of_pipelines().union(*(OPTION.findall(help_of(command, capsys)) for command in COMMANDS))
    known = known.union(*(options_of_tool(name, capsys) for name in TOOLS))
    found = {name for path in DOCUMENTS for name in re.findall(r"`(--[A-Za-z][\w-]*)[ `]", path.read_text())}
    assert found - known - OF_THE_LAUNCHER == OF_OTHERS


def test_what_follows_a_command_is_seen() -> None:
    text = "`launcher.py stream status | drain` and\n```\npython launcher.py local up \\\n    --flink\n```\n"
    assert named(text) == [("stream", " status | drain"), ("local", " up --flink")]
