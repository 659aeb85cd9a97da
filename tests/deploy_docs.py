"""The shell commands of docs/how-to/deploy. Tests run all blocks except those that begin with NOT_RUN."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DEPLOY", "NOT_RUN", "commands", "run_here", "shell_blocks"]

DEPLOY = Path(__file__).parents[1] / "docs" / "how-to" / "deploy"
NOT_RUN = "# not run here"
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHELL = ("", "bash", "console", "sh", "shell")
"""Languages of fenced blocks with commands. A block without a language counts as one."""


def shell_blocks(document: Path) -> list[str]:
    """Return the blocks of shell commands of a document, in order."""
    text = document.read_text()
    blocks = FENCED.findall(text)
    assert text.count("```") == 2 * len(blocks), f"{document.name} has a fence that is not closed or not read"
    return [block for language, block in blocks if language in SHELL]


def commands(block: str) -> list[str]:
    """Return the commands of a block without comments, continuation lines joined."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_here(name: str, folder: Path = DEPLOY) -> list[str]:
    """Return the document's commands that are not marked. A test that calls this by name must run all of them."""
    blocks = shell_blocks(folder / name)
    return [command for block in blocks if block.splitlines()[:1] != [NOT_RUN] for command in commands(block)]
