"""The stream of this project, as `launcher.py stream` runs it, on Prism or on Flink."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import TABLE, Task, stream_line
from connectors.sinks.bucket_writer import Appended, BucketWriter
from connectors.sources.kafka import BlockMaker
from contracts.decoding.envelope import TIMESTAMP
from local.service import PROJECT
from pipelines.runs.settings import StreamSettings
from pipelines.stream.run import run_stream
from transforms.ledger import State

__all__ = ["observe", "run"]


def run(task: Task) -> None:
    """Run the stream until nothing is left to read. Raises RuntimeError if it fails."""
    observe()
    name = task.name
    arguments = [
        *(f"--project={PROJECT}", "--location=US", f"--topic={task.topic}={TABLE}", f"--group_id={name}"),
        *(f"--dataset={name}", f"--operations_dataset={name}_operations", f"--run_id={name}"),
        *("--stop_when_idle=1", "--max_restarts=0", *task.arguments),
    ]
    say = Console(file=sys.stderr)
    with stream_line(task.runner, *arguments) as line:
        settings = StreamSettings.of(line.with_defaults(bootstrap_servers=task.servers))
        summary = run_stream(settings, lambda message: say.print(message, markup=False), lambda _: None)
    if summary.state is not State.DONE:
        raise RuntimeError(f"{summary.state.value}: {summary.why}")


def observe() -> None:
    """Notify the probe of the first bundle of records, and of every append.

    It wraps two functions, which are called once per bundle and once per append; the pipeline has no code for it.
    """
    make, append = BlockMaker.__init__, BucketWriter.append

    def begin_and_make(maker: BlockMaker, *arguments: Any) -> None:
        PROBE.begin()
        make(maker, *arguments)

    def append_and_notify(writer: BucketWriter, rows: pl.DataFrame, stored: Callable[..., Any]) -> Appended:
        appended = append(writer, rows, stored)
        PROBE.add(len(rows))
        if PROBE.keep_latencies and TIMESTAMP in rows.columns:
            PROBE.late(rows[TIMESTAMP].to_numpy())
        return appended

    BlockMaker.__init__, BucketWriter.append = begin_and_make, append_and_notify  # type: ignore[method-assign, assignment]
