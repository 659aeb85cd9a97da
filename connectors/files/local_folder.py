"""The files below a local folder. Symbolic links are followed if they do not leave the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LocalEntry", "walk"]

LEAVES = "a symbolic link that leaves the folder"
LocalEntry = tuple[Path, os.stat_result | str]
"""A file with its status, or an entry that cannot be read with the reason."""


def walk(folder: Path) -> Iterator[LocalEntry]:
    """Yield the files and other entries below `folder` in order of path; also each folder that cannot be listed."""
    yield from sorted(_walk(folder, (os.path.realpath(folder),)), key=lambda entry: entry[0])


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[LocalEntry]:
    """Yield the entries below `folder`; `above` are the real paths of `folder` and those above it, the root first."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        yield folder, f"the folder cannot be listed: {error.strerror}"
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_symlink():
            real = os.path.realpath(path)
            if not real.startswith(above[0].rstrip("/") + "/") and real != above[0]:
                yield path, LEAVES
                continue
            if real in above:
                yield path, "a symbolic link that leads back to a folder above it"
                continue
        try:
            status = path.stat()
        except OSError as error:  # broken links, and files that were deleted meanwhile
            yield path, f"its status cannot be read: {error.strerror}"
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, (*above, os.path.realpath(path)))
        elif stat.S_ISREG(status.st_mode):
            yield path, status
        else:
            yield path, "neither a file nor a folder"
