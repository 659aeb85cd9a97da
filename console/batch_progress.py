"""The progress of a batch: a bar on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console, RenderableType
from rich.filesize import decimal

from console.repeat import repeated
from transforms.progress import Progress

__all__ = ["batch_progress"]

LINE_SECONDS = 30.0
"""Time between two lines, without a terminal."""


@contextmanager
def batch_progress(
    console: Console, log: Callable[[str], None], progress: Progress, seconds: float = LINE_SECONDS
) -> Iterator[None]:
    """Show `progress` while the block lasts; elsewhere than on a terminal by a line every `seconds`."""
    if console.is_terminal:
        with _Bar(console, progress):
            yield
        return
    began = time.monotonic()
    with repeated(lambda: log(_line(progress, time.monotonic() - began)), seconds, "progress"):
        yield


def _line(progress: Progress, seconds: float) -> str:
    return (
        f"{progress.step}: {decimal(progress.bytes)} of {decimal(progress.total)}, {progress.records:,} records,"
        f" {progress.dead_letters:,} dead letters, {seconds:.0f} s"
    )


class _Bar(rich_progress.Progress):
    """Draws the progress four times a second; erased at the end of the run."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._progress = progress
        self._began = time.monotonic()
        super().__init__(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=None),
            rich_progress.DownloadColumn(),
            rich_progress.TextColumn("{task.fields[records]:,} records"),
            rich_progress.TextColumn("{task.fields[dead_letters]:,} dead letters"),
            rich_progress.TextColumn("{task.fields[seconds]:.0f} s"),
            console=console,
            expand=True,
            transient=True,
            refresh_per_second=4,
        )
        self.add_task(progress.step, total=progress.total, records=0, dead_letters=0, seconds=0)

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.task_ids:
            self.update(
                task,
                completed=self._progress.bytes,
                description=self._progress.step,
                records=self._progress.records,
                dead_letters=self._progress.dead_letters,
                seconds=time.monotonic() - self._began,
            )
        yield from super().get_renderables()
