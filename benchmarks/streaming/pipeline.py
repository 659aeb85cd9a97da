"""This project's stream, as `launcher.py stream` runs it, on Prism or on Flink."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import TABLE, Task, beam_options
from connectors.kafka_source import IntoBlocks
from connectors.lanes import Appended, Lane
from contracts.envelope import TIMESTAMP
from local.service import PROJECT
from pipelines.stream_run import run_stream

__all__ = ["observe", "run"]


def run(task: Task) -> None:
    """Run the stream until nothing is left to read. RuntimeError if it fails."""
    observe()
    name = task.name
    arguments = [
        *(f"--project={PROJECT}", "--location=US", f"--topic={task.topic}={TABLE}", f"--group_id={name}"),
        *(f"--dataset={name}", f"--operations_dataset={name}_operations", f"--run_id={name}"),
        *("--stop_when_idle=1", "--max_restarts=0", *task.arguments),
    ]
    say = Console(file=sys.stderr)
    with beam_options(task.runner, *arguments) as options:
        found = run_stream(options, task.servers, lambda line: say.print(line, markup=False), lambda status: None)
    if found["state"] != "done":
        raise RuntimeError(f"{found['state']}: {found.get('why')}")


def observe() -> None:
    """Tell the probe of the first bundle of records, and of every part that is durable: a wrapper round two functions,
    called once a bundle and once a part. The pipeline itself knows nothing of it."""
    start, append = IntoBlocks.start_bundle, Lane.append

    def start_bundle(step: IntoBlocks) -> None:
        PROBE.begin()
        start(step)

    def append_and_tell(lane: Lane, rows: pl.DataFrame, stored: Callable[..., Any]) -> Appended:
        done = append(lane, rows, stored)
        PROBE.add(len(rows))
        if PROBE.keep_latencies and TIMESTAMP in rows.columns:
            PROBE.late(rows[TIMESTAMP].to_numpy())
        return done

    IntoBlocks.start_bundle, Lane.append = start_bundle, append_and_tell  # type: ignore[method-assign, assignment]
