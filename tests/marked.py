"""Processes that carry a mark in their environment, which whatever they start inherits. Linux only: elsewhere none."""

from __future__ import annotations

from pathlib import Path

__all__ = ["marked"]

PROC = Path("/proc")


def marked(name: str, value: str) -> dict[int, str]:
    """Command lines by pid of the processes that run and were started with this variable. A zombie does not run."""
    mark = f"{name}={value}".encode()
    found = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
        except OSError:  # it has ended, or is another user's
            continue
    return found
