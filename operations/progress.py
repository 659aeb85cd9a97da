"""A running batch on a terminal: a bar; elsewhere: a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console, RenderableType
from rich.filesize import decimal

from transforms.progress import PROGRESS

__all__ = ["shown"]

LINE_SECONDS = 30.0
"""Between two lines where there is no terminal."""


@contextmanager
def shown(console: Console, log: Callable[[str], None], total: int, seconds: float = LINE_SECONDS) -> Iterator[None]:
    """Show PROGRESS while the block lasts; `total` is the bytes that are pinned."""
    PROGRESS.restart(total)
    if console.is_terminal:
        with _Bar(console):
            yield
        return
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(seconds):
            log(_line(time.monotonic() - began))

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _line(seconds: float) -> str:
    return (
        f"{PROGRESS.step}: {decimal(PROGRESS.bytes)} of {decimal(PROGRESS.total)}, {PROGRESS.records:,} records,"
        f" {PROGRESS.dead_letters:,} dead letters, {seconds:.0f} s"
    )


class _Bar(rich_progress.Progress):
    """Draws itself four times a second, and asks PROGRESS each time; gone when the run is over."""

    def __init__(self, console: Console) -> None:
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
        self.add_task(PROGRESS.step, total=PROGRESS.total, records=0, dead_letters=0, seconds=0)

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.task_ids:
            self.update(
                task, completed=PROGRESS.bytes, description=PROGRESS.step, records=PROGRESS.records,
                dead_letters=PROGRESS.dead_letters, seconds=time.monotonic() - self._began,
            )  # fmt: skip
        yield from super().get_renderables()
