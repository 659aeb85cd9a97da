"""Where a command prints: results to stdout, progress and messages to stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from console.printable import printable
from console.report import print_lines, print_message
from contracts.errors import ReportedError

__all__ = ["Terminal"]

TICK = "✓"


class Terminal:
    """The two consoles of one command. Both follow sys.stdout and sys.stderr."""

    def __init__(self) -> None:
        """The width and the colors of the streams are read now, so create one for each command."""
        self.output = Console()
        """Results."""
        self.progress = Console(stderr=True)
        """Progress and messages; lines that are logged appear above a live display on it."""

    def log(self, message: str) -> None:
        """Print one message of progress."""
        print_message(self.progress, Text(printable(message)))

    def log_error(self, error: Exception | str) -> None:
        """Print an error, one line for each problem, and below it the notes that were added to the exception."""
        lines = error.lines if isinstance(error, ReportedError) else [str(error)]
        for line in lines:
            print_message(self.progress, Text.assemble(("error: ", "bold red"), printable(line)))
        for note in getattr(error, "__notes__", ()):
            print_lines(self.progress, note.splitlines())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show on a terminal that a step lasts, and after the block its seconds. Elsewhere print nothing."""
        if not self.progress.is_terminal:
            yield
            return
        began = time.monotonic()
        with self.progress.status(Text(f"{name} …")):
            yield
        print_message(self.progress, Text.assemble((f"{TICK} ", "green"), f"{name}  {time.monotonic() - began:.1f} s"))

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Show on a terminal that the block lasts; nothing stays. Print no result in the block."""
        if not self.progress.is_terminal:
            yield
            return
        with self.progress.status(Text(f"{name} …")):
            yield
