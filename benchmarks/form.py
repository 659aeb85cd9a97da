"""Run the events of one form through the batch's graph: `python -m benchmarks.form FORM FILE` prints JSON.

{"seconds": from the graph's start to its end, imports left out; "written": clean records}.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.forms import table_of
from benchmarks.pipeline import run_table

__all__ = ["main"]


def main(form: str, source: str) -> None:
    """Run the form; print its seconds and the number of its clean records."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    table = table_of(form)
    with tempfile.TemporaryDirectory(prefix="bench-form-") as folder:
        started = time.perf_counter()
        written = run_table(table, Path(source), Path(folder))
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "written": written}))


if __name__ == "__main__":
    main(*sys.argv[1:])
