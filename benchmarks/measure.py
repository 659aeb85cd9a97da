"""Run one implementation on one file in this process: `python -m benchmarks.measure NAME SOURCE FOLDER` prints JSON.

{"seconds": the work itself, from the call to its return, imports left out; "peak_bytes": the process's greatest
resident size, imports included}.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import sys
import time
from pathlib import Path

__all__ = ["main"]


def main(name: str, source: str, folder: str) -> None:
    """Run benchmarks.<name>.run(source, folder); print its seconds and peak memory."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    run = importlib.import_module(f"benchmarks.{name}").run
    started = time.perf_counter()
    run(Path(source), Path(folder))
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))


if __name__ == "__main__":
    main(*sys.argv[1:])
