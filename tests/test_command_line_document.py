"""The reference of the command line is what the help texts say, in any version of Python."""

from __future__ import annotations

from launcher import COMMANDS
from pipelines.runs.exit_codes import EXIT_CODES
from tests.test_docs import DOCS, rows
from tools import command_line


def test_the_reference_is_generated_from_the_help_texts() -> None:
    written = (DOCS / "reference/command-line.md").read_text()
    generate = "python -m tools.command_line > docs/reference/command-line.md"
    assert written.split() == command_line.documentation().split(), generate


def test_the_reference_has_every_command_and_exit_code() -> None:
    assert command_line.COMMANDS == COMMANDS
    assert {int(code) for code in rows("reference/command-line.md", "code")} == {*EXIT_CODES.values(), 5}
