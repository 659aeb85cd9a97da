"""Processes that carry a mark in their environment, which whatever they start inherits."""

from __future__ import annotations

import psutil

__all__ = ["marked"]


def marked(name: str, value: str) -> dict[int, str]:
    """Command lines by pid of the processes that run and were started with this variable. A zombie does not run."""
    return {
        process.pid: " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline", "environ", "status"])
        if (process.info["environ"] or {}).get(name) == value and process.info["status"] != psutil.STATUS_ZOMBIE
    }
