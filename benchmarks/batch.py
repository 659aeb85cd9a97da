"""Compare the batch pipeline with textbook Beam and with a polars script: `python -m benchmarks.batch [--full]`.

Each implementation runs on the same file, in turn, alone and in a separate process. With --full, figures are medians of
three rounds. Exit code 1 if the implementations do not return the same keys and refused records or, with --full, if a
requirement is not met. This process holds no data, because a child's peak memory would begin at its parent's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.events import write_events

__all__ = ["Requirement", "main"]

TEXTBOOK, SCRIPT, PIPELINE = "textbook", "polars_script", "pipeline"
EMPTY = 100
"""Number of events of the run that measures the start-up time."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of events: of the comparison, and of the three runs that show how cost grows; and of rounds."""

    compared: int
    growth: tuple[int, int, int]
    rounds: int


FULL = Sizes(1_000_000, (250_000, 1_000_000, 4_000_000), 3)
SHORT = Sizes(500_000, (125_000, 500_000, 1_000_000), 1)
CHECK = Sizes(2_000, (500, 2_000, 4_000), 1)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and CPU time of the work without imports, and peak bytes: see measure.py."""

    seconds: float
    peak_bytes: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Requirement:
    """A figure and its limit: the smallest value allowed if `at_least`, else the largest."""

    name: str
    figure: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


class Bench:
    """The files and child processes of one benchmark, in `folder`."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._console = console

    def events(self, count: int) -> Path:
        """Return the file with `count` events, written on first use; its name is that of the table."""
        file = self._folder / "events" / str(count) / "user_events.ndjson"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_events(file, count)
        return file

    def output(self, name: str, count: int, workers: int = 0) -> Path:
        """Return the folder where the output of a run stays until the next one."""
        return self._folder / "outputs" / str(count) / (f"{name}_{workers}" if workers else name)

    def measure(self, name: str, count: int, workers: int = 0) -> Measured:
        """Run one implementation once, with workers if it has some."""
        source, output = self.events(count), self.output(name, count, workers)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.measure", name, str(source), str(output)]
        command += [str(workers)] if workers else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} failed on {count:,} events")
        result = Measured(**json.loads(done.stdout.splitlines()[-1]))
        times = f"{result.seconds:7.2f} s {result.cpu_seconds:7.2f} s of CPU"
        of = f" x {workers}" if workers else ""
        self._console.print(f"{name + of:14} {count:10,} events {times} {result.peak_bytes / 1e6:7.0f} MB")
        return result

    def compare(self, count: int) -> bool:
        """Whether all implementations returned the same for the file with `count` events."""
        command = [sys.executable, "-m", "benchmarks.outcome", str(self._folder / "outputs" / str(count))]
        return subprocess.run(command, check=False).returncode == 0


def medians(runs: Sequence[Measured]) -> Measured:
    """Return the median of each figure."""
    figures = ("seconds", "peak_bytes", "cpu_seconds")
    return Measured(**{figure: median(getattr(run, figure) for run in runs) for figure in figures})


def compared(bench: Bench, count: int, rounds: int) -> dict[str, Measured]:
    """Run the implementations in turn; return the medians of each."""
    runs: dict[str, list[Measured]] = {TEXTBOOK: [], SCRIPT: [], PIPELINE: []}
    for _ in range(rounds):
        for name, results in runs.items():
            results.append(bench.measure(name, count))
    return {name: medians(results) for name, results in runs.items()}


def growth(bench: Bench, sizes: Sequence[int], rounds: int) -> dict[int, Measured]:
    """Run the pipeline on each number of events, in turn; return the medians of each."""
    runs: dict[int, list[Measured]] = {count: [] for count in sizes}
    for _ in range(rounds):
        for count, results in runs.items():
            results.append(bench.measure(PIPELINE, count))
    return {count: medians(results) for count, results in runs.items()}


def requirements(by_name: dict[str, Measured], by_count: dict[int, Measured]) -> list[Requirement]:
    """Return the figures that have a limit.

    The cost per event is without the start-up time. That is the stricter way: start-up time that is spread over more
    events makes each of them look cheaper.
    """
    seconds = by_name[PIPELINE].seconds
    start_up = by_count[EMPTY].seconds
    small, middle, large = (count for count in by_count if count != EMPTY)
    per_event = {count: (by_count[count].seconds - start_up) / count for count in (small, middle, large)}
    grown = max(
        per_event[large] / per_event[middle], per_event[large] / per_event[small], per_event[middle] / per_event[small]
    )
    peaks = {count: by_count[count].peak_bytes for count in by_count}
    return [
        Requirement("times textbook Beam (aim 12)", by_name[TEXTBOOK].seconds / seconds, 6, at_least=True),
        Requirement("times the polars script (aim 0.6)", by_name[SCRIPT].seconds / seconds, 0.3, at_least=True),
        Requirement(
            f"peak memory, {large:,} over {middle:,} events", peaks[large] / peaks[middle], 4.5, at_least=False
        ),
        Requirement(f"peak bytes per event, {large:,} events", peaks[large] / large, 1500, at_least=False),
        Requirement("growth of cost per event, start-up subtracted", grown, 1.15, at_least=False),
    ]


def show(console: Console, by_name: dict[str, Measured], by_count: dict[int, Measured], count: int) -> None:
    """Print the figures."""
    speeds = Table(title=f"{count:,} events, medians", title_justify="left")
    for heading in ("implementation", "seconds", "events/s", "peak MB"):
        speeds.add_column(heading, justify="left" if heading == "implementation" else "right")
    for name, run in by_name.items():
        speeds.add_row(name, f"{run.seconds:.2f}", f"{count / run.seconds:,.0f}", f"{run.peak_bytes / 1e6:,.0f}")
    console.print(speeds)
    costs = Table(title="the pipeline by number of events", title_justify="left")
    for heading in ("events", "seconds", "us/event", "us/event without start-up", "peak MB"):
        costs.add_column(heading, justify="right")
    start_up = by_count[EMPTY].seconds
    for events, run in by_count.items():
        bare = "" if events == EMPTY else f"{(run.seconds - start_up) / events * 1e6:.2f}"
        each = f"{run.seconds / events * 1e6:.2f}"
        costs.add_row(f"{events:,}", f"{run.seconds:.2f}", each, bare, f"{run.peak_bytes / 1e6:,.0f}")
    console.print(costs)


def print_requirements(console: Console, requirements: Sequence[Requirement]) -> bool:
    """Print each requirement and whether it is met; return True if all are met."""
    table = Table(title="requirements", title_justify="left")
    for heading in ("requirement", "figure", "limit", "met"):
        table.add_column(heading)
    for each in requirements:
        sign = "at least" if each.at_least else "at most"
        table.add_row(each.name, f"{each.figure:,.2f}", f"{sign} {each.limit:g}", "yes" if each.met else "NO")
    console.print(table)
    return all(each.met for each in requirements)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full", dest="sizes", action="store_const", const=FULL, default=SHORT, help="a quarter of an hour"
    )
    size.add_argument(
        "--check", dest="sizes", action="store_const", const=CHECK, help="a few thousand events: check the results only"
    )
    parser.add_argument("--folder", type=Path, help="keep events and outputs here (default: a temporary folder)")
    options = parser.parse_args(arguments)
    sizes = options.sizes
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        bench = Bench(options.folder or Path(temporary), console)
        by_name = compared(bench, sizes.compared, sizes.rounds)
        if not bench.compare(sizes.compared):
            console.print("the implementations do not return the same: speed is not compared")
            return 1
        console.print("the same keys and the same refused records from all")
        by_count = growth(bench, (EMPTY, *sizes.growth), sizes.rounds)
    show(console, by_name, by_count, sizes.compared)
    met = print_requirements(console, requirements(by_name, by_count))
    if sizes is not FULL:
        console.print("the limits apply with --full only: here are too few events")
        return 0
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
