"""The commands that README, the tutorials, `--help` and the demo print, as they are printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import launcher
from commands import stream_jobs
from operations.demo import next_steps
from tests.deploy_docs import commands, shell_blocks

__all__ = ["NEEDS_GOOGLE", "printed", "run_order"]

ROOT = Path(__file__).parents[1]
NEEDS_GOOGLE = re.compile(r"gs://B\b|--project P\b|\bHOST:")
"""Placeholders of a project, a bucket or a host that a reader fills in."""


def printed(helps: Iterable[str]) -> list[str]:
    """Return every command once, without comments.

    The order is README, the tutorials, `launcher.py --help`, the demo, `helps`.
    """
    texts = [launcher.__doc__ or "", "\n".join(next_steps("--local")), *helps]
    documents = [ROOT / "README.md", *sorted((ROOT / "docs/tutorial").glob("*.md"))]
    found = [line for document in documents for block in shell_blocks(document) for line in commands(block)]
    for text in texts:
        found += [line for line in commands(text) if line.startswith("python3 ")]
    assert not [line for line in found if " launcher.py" in line and not line.startswith("python3 launcher.py ")]
    return list(dict.fromkeys(re.sub(r" +#.*", "", re.sub(r" {2,}", " ", line)) for line in found))


def run_order(found: Iterable[str]) -> Iterator[str]:
    """Those that run on this machine alone and are not the Makefile's; those that end the local cloud come last."""
    here = [line for line in found if line.startswith("python3 launcher.py ") and not NEEDS_GOOGLE.search(line)]
    ending = ("python3 launcher.py local up --flink", "python3 launcher.py local down")
    yield from (line for line in here if line not in ending)
    yield from (line for line in ending if line in here)


def stream_helps() -> Iterator[list[str]]:
    """The arguments that print the help of a stream's jobs."""
    for action in stream_jobs.ACTIONS:
        yield ["stream", action, "--help"]
