"""Folders for what a run keeps on this machine while it lasts; the next run removes what a killed one has left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["remove_leftovers", "scratch_folder"]

PREFIX = "contract-pipeline-"
LOCK = "lock"
"""A file that the owner of a folder keeps locked: the lock ends with its process, however that ends."""
DISKS = ("/var/tmp",)
"""Folders that are tried before Python's default, which is in memory on many systems."""


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a new folder that only this user can read, and remove it at the end of the block.

    It is below TMPDIR if that is set, else below /var/tmp. Leftovers of killed runs are removed first.
    """
    remove_leftovers()
    created = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=_disk()))
    lock = _locked(created)
    assert lock is not None
    folder = created.with_name(created.name.removeprefix("."))
    created.rename(folder)  # from now on it is a leftover once the lock is gone
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_leftovers() -> int:
    """Remove the folders of this user whose process has ended; return how many there were."""
    removed = 0
    for folder in Path(_disk()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process removes it, or it belongs to another user
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if (lock := _locked(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                removed += 1
    return removed


def _locked(folder: Path) -> int | None:
    """Lock the folder; return the descriptor that holds the lock, None if another process has it."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _disk() -> str:
    """Return the folder for scratch folders."""
    if os.environ.get("TMPDIR"):
        return tempfile.gettempdir()
    return next((path for path in DISKS if os.access(path, os.W_OK | os.X_OK)), tempfile.gettempdir())
