"""The cache folder: programs that are fetched or built once for this machine."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Say", "cache_folder", "exclusive", "say_on_stderr"]

Say = Callable[[str], None]
"""A function that takes one line of progress."""


def say_on_stderr(line: str) -> None:
    """Print the line to stderr."""
    print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Return the folder `contract-pipeline` in $XDG_CACHE_HOME, else in ~/.cache; create it if it does not exist."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "contract-pipeline"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Let one process at a time into the blocks of this `name`. A process that is killed releases the lock."""
    with open(cache_folder() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
