"""The shell commands of docs/deploy: a block that begins with NOT_RUN is for readers, all others are run by tests."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DEPLOY", "NOT_RUN", "commands", "run_here", "shell_blocks"]

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"
NOT_RUN = "# not run here"
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHELL = ("", "bash", "console", "sh", "shell")
"""Languages of a fenced block that has commands; one without a language is taken for such a block."""


def shell_blocks(document: Path) -> list[str]:
    """The blocks of shell commands of a document, in order."""
    text = document.read_text()
    found = FENCED.findall(text)
    assert text.count("```") == 2 * len(found), f"{document.name} has a fence that is not read"
    return [block for language, block in found if language in SHELL]


def commands(block: str) -> list[str]:
    """The commands of a block, one a line where it has them over several; without comments."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_here(name: str, folder: Path = DEPLOY) -> list[str]:
    """The commands of the document that are not marked. A test that calls it, with the name, runs all of them."""
    blocks = shell_blocks(folder / name)
    return [command for block in blocks if block.splitlines()[:1] != [NOT_RUN] for command in commands(block)]
