"""Run one contender: `python -m benchmarks.streaming.measure CONTENDER TASK`, TASK as JSON; prints JSON.

Seconds count from the first record read to the last record durable: the start of engines and imports do not count.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import import_module

import msgspec
import numpy as np

from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import Task

__all__ = ["RUNS", "main"]

RUNS = {
    "limit": "limit.run",
    "textbook": "textbook.run",
    "consumer": "consumer.run",
    "replaced": "consumer.run_replaced",
    "pipeline": "pipeline.run",
    "memory": "memory.run",
}
"""The module and function of each contender."""


def main(contender: str, packed: str) -> None:
    """Run the contender; print the measured figures as the last line."""
    began = time.monotonic()
    logging.basicConfig(level=logging.ERROR)
    for noisy in ("apache_beam", "kafka", "root"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    task = msgspec.json.decode(packed, type=Task)
    module, _, function = RUNS[contender].partition(".")
    PROBE.expected, PROBE.keep_latencies = task.records, task.warm_seconds > 0
    found = getattr(import_module(f"benchmarks.streaming.{module}"), function)(task) or {}
    late = PROBE.latencies(task.warm_seconds)
    if len(late):
        found |= {"latencies": len(late)} | {f"p{q}_ms": float(np.percentile(late, q)) for q in (50, 95, 99)}
    print(json.dumps({**PROBE.result(), "start_seconds": PROBE.last - began, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
