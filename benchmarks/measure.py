"""Run one implementation on one file in this process: `python -m benchmarks.measure NAME SOURCE FOLDER [WORKERS]`.

It prints JSON: {"seconds": the work itself, from the call to its return, imports left out; "cpu_seconds": of this
process and of those that it has started; "peak_bytes": the process's greatest resident size, imports included, or with
workers the greatest sum of all processes}.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import sys
import time
from pathlib import Path

from benchmarks.memory_peak import watched

__all__ = ["main"]


def main(name: str, source: str, folder: str, workers: str = "") -> None:
    """Run benchmarks.<name>.run(source, folder); print its seconds, its CPU time and its peak memory."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    module = importlib.import_module(f"benchmarks.{name}")
    began, cpu = time.perf_counter(), _cpu_seconds()
    if workers:
        with module.server(int(workers)) as server, watched() as peak:  # a thread comes after the fork
            module.run(Path(source), Path(folder), server)
        peak_bytes = peak.bytes
    else:
        module.run(Path(source), Path(folder))
        unit = 1 if sys.platform == "darwin" else 1024
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak_bytes}))


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main(*sys.argv[1:])
