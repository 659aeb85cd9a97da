"""The batch in one and in two processes, against events: `python -m benchmarks.workers [--full]`.

Prints seconds, CPU time and memory as a table and as bars, next to the polars script, and what more cores would give by
the serial part. With --full, figures are medians of three rounds of up to 16,000,000 events, one round of 64,000,000 is
added, and the exit code is 1 if a requirement is not met. It is 1 in any case if the outputs differ. Give --folder on a
disk with 60 GB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.batch import PIPELINE, SCRIPT, Bench, Measured, Requirement, medians, print_requirements
from benchmarks.outcome import read_outcome

__all__ = ["main", "more_cores"]

WORKERS = (1, 2)
CORES = (4, 8, 16)
BAR = 30
"""Characters of the longest bar."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of events of the comparison, of rounds, and of one more run with two workers; 0 for none."""

    events: tuple[int, ...]
    rounds: int
    once: int


FULL = Sizes((1_000_000, 4_000_000, 16_000_000), 3, 64_000_000)
SHORT = Sizes((250_000, 1_000_000), 1, 0)
CHECK = Sizes((2_000, 4_000), 1, 0)
Contender = tuple[str, int]
"""An implementation and its workers, 0 where it has none."""
CONTENDERS: tuple[Contender, ...] = ((SCRIPT, 0), *((PIPELINE, workers) for workers in WORKERS))
Results = Mapping[int, Mapping[Contender, Measured]]
"""Medians by number of events and contender."""


def measured(bench: Bench, sizes: Sizes) -> dict[int, dict[Contender, Measured]]:
    """Run the contenders in turn on each number of events; return their medians."""
    results: dict[int, dict[Contender, Measured]] = {}
    for events in sizes.events:
        runs: dict[Contender, list[Measured]] = {contender: [] for contender in CONTENDERS}
        for _ in range(sizes.rounds):
            for contender, figures in runs.items():
                figures.append(bench.measure(contender[0], events, contender[1]))
        results[events] = {contender: medians(figures) for contender, figures in runs.items()}
    if sizes.once:
        most = (PIPELINE, WORKERS[-1])
        results[sizes.once] = {most: bench.measure(PIPELINE, sizes.once, WORKERS[-1])}
    return results


def same_outputs(bench: Bench, events: int) -> bool:
    """Whether all contenders returned the same keys and refused records."""
    outcomes = [read_outcome(name, bench.output(name, events, workers)) for name, workers in CONTENDERS]
    return all(one.equals(other) for outcome in outcomes for one, other in zip(outcome, outcomes[0], strict=True))


def more_cores(one: float, two: float, cores: Iterable[int]) -> dict[int, float]:
    """Return the seconds with more cores by Amdahl's law, from those with one and two workers."""
    serial = max(0.0, 2 * two - one)
    return {count: serial + (one - serial) / count for count in cores}


def requirements(results: Results) -> list[Requirement]:
    """Return the figures that have a limit; those of 16,000,000 events need --full."""
    small, large = min(results), max(events for events, runs in results.items() if (SCRIPT, 0) in runs)
    most = (PIPELINE, WORKERS[-1])
    ratios = {events: results[events][SCRIPT, 0].seconds / results[events][most].seconds for events in (small, large)}
    return [
        Requirement(f"times the polars script, {large:,} events (aim 1.3)", ratios[large], 1.1, at_least=True),
        Requirement(f"times the polars script, {small:,} events", ratios[small], 0.6, at_least=True),
        Requirement(
            f"CPU us/event, {large:,} events", results[large][most].cpu_seconds / large * 1e6, 6, at_least=False
        ),
        *(
            Requirement(f"GB of all processes, {events:,} events", runs[most].peak_bytes / 1e9, 1.5, at_least=False)
            for events, runs in results.items()
            if events >= large
        ),
    ]


def show(console: Console, results: Results) -> None:
    """Print the table, the bars, and what more cores would give."""
    table = Table(title="processes, medians", title_justify="left")
    for heading in ("events", "implementation", "seconds", "CPU s", "CPU us/event", "peak MB"):
        table.add_column(heading, justify="left" if heading == "implementation" else "right")
    for events, runs in results.items():
        for contender, run in runs.items():
            figures = (f"{run.seconds:.2f}", f"{run.cpu_seconds:.2f}", f"{run.cpu_seconds / events * 1e6:.2f}")
            table.add_row(f"{events:,}", _name(contender), *figures, f"{run.peak_bytes / 1e6:,.0f}")
    console.print(table)
    rows = [(events, contender, run) for events, runs in results.items() for contender, run in runs.items()]
    names = [f"{events:>10,} {_name(contender):22}" for events, contender, _ in rows]
    _bars(console, "us/event", names, [run.seconds / events * 1e6 for events, _, run in rows])
    _bars(console, "CPU us/event", names, [run.cpu_seconds / events * 1e6 for events, _, run in rows])
    _bars(console, "peak MB", names, [run.peak_bytes / 1e6 for _, _, run in rows])
    largest = max(events for events, runs in results.items() if (PIPELINE, 1) in runs)
    one, two = (results[largest][PIPELINE, workers].seconds for workers in WORKERS)
    expected = ", ".join(f"{cores}: {seconds:.1f}" for cores, seconds in more_cores(one, two, CORES).items())
    console.print(f"{largest:,} events by Amdahl's law, seconds by cores, if the disk keeps up: {expected}")


def _bars(console: Console, title: str, names: Sequence[str], values: Sequence[float]) -> None:
    console.print(title)
    for name, value in zip(names, values, strict=True):
        bar = "#" * max(1, round(value / max(values) * BAR))
        console.print(f"{name} {bar:{BAR}} {value:,.2f}", highlight=False)


def _name(contender: Contender) -> str:
    name, workers = contender
    return f"{name}, {workers} workers" if workers else name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", dest="sizes", action="store_const", const=FULL, default=SHORT, help="half an hour")
    size.add_argument("--check", dest="sizes", action="store_const", const=CHECK, help="check the results only")
    parser.add_argument("--folder", type=Path, help="keep events and outputs here (default: a temporary folder)")
    options = parser.parse_args(arguments)
    sizes, console = options.sizes, Console()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        bench = Bench(options.folder or Path(temporary), console)
        results = measured(bench, sizes)
        if not all(same_outputs(bench, events) for events in sizes.events):
            console.print("the implementations do not return the same: speed is not compared")
            return 1
    show(console, results)
    met = print_requirements(console, requirements(results))
    if sizes is not FULL:
        console.print("the limits apply with --full only: here are too few events")
        return 0
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
