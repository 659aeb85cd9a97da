"""What this machine, or this container, lets a process use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory", "usable_cores"]

CGROUP = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1: fewer than the machine has in a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # the file has "max 100000" if there is no limit
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        cores = min(cores, math.ceil(quota / period))
    return max(1, cores)


def available_memory() -> int | None:
    """Return the bytes that processes may still use without swapping, None if this system does not say."""
    limits: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
        limits.append(int(line.split()[1]) << 10)
    with suppress(OSError, ValueError):
        used, most = ((CGROUP / name).read_text() for name in ("memory.current", "memory.max"))
        limits.append(int(most) - int(used))
    return min(limits, default=None)
