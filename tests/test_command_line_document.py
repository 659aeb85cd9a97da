"""The reference of the command line is what the help texts say, in any version of Python."""

from __future__ import annotations

import re

from contracts.errors import ReportedError
from launcher import COMMANDS
from pipelines.runs.exit_codes import EXIT_CODES
from tests.test_docs import DOCS, rows
from tools import command_line
from transforms.ledger import State


def test_the_reference_is_generated_from_the_help_texts() -> None:
    written = (DOCS / "reference/command-line.md").read_text()
    generate = "python -m tools.command_line > docs/reference/command-line.md"
    assert written.split() == command_line.documentation().split(), generate


def test_the_reference_has_every_command() -> None:
    assert command_line.COMMANDS == COMMANDS


def test_the_page_has_every_exit_code_and_state() -> None:
    kinds = {kind.exit_code for kind in (ReportedError, *ReportedError.__subclasses__())}
    assert {int(code) for code in rows("reference/exit-codes.md", "code")} == {*EXIT_CODES.values(), *kinds}
    text = (DOCS / "reference/exit-codes.md").read_text()
    assert set(re.findall(r"`([a-z_]+)`", text.partition("as `state`:")[2])) == {state.value for state in State}
