"""Compare the stream with other readers of the same topic: `python -m benchmarks.stream [--full]`.

Each contender runs in turn, alone and in a separate process. Rates count from the first record read to the last record
durable, so the start of engines does not count. Slow contenders are stopped: see SHORT and FULL. With --full, figures
are medians of three rounds. Exit code 1 if a contender that reads everything does not return every key once or, with
--full, if a requirement is not met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.batch import Requirement, print_requirements
from benchmarks.streaming.consumer import LETTERS
from benchmarks.streaming.site import Site, site
from benchmarks.streaming.task import TABLE

__all__ = ["main"]

LATENCY_RATE = 1_000
LATENCY_SECONDS, WARM_SECONDS = 60, 10
"""Longer than the start of an engine, or all events are sent before the first one is read."""
MEMORY_EVENTS, MEMORY_RATE = 2_000_000, 15_000
"""Slow enough that half of the events take longer than keys are kept: the horizon and one generation, 75 s."""
RESTART_EVENTS = 1_000
LONGEST_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    events: int
    rounds: int
    slow_seconds: float
    """How long a slow contender runs."""
    restart_keys: int
    index_keys: tuple[int, ...]


FULL = Sizes(500_000, 3, 60.0, 1_000_000, (1_000_000, 10_000_000))
SHORT = Sizes(100_000, 1, 10.0, 200_000, (1_000_000,))


@dataclass(frozen=True)
class Contender:
    """A module, the engine it runs on, its title in the table, and whether its time is limited."""

    module: str
    runner: str
    title: str
    slow: bool = False


CONTENDERS = {
    "limit": Contender("limit", "PrismRunner", "(a) ReadFromKafka and a counter, Prism"),
    "pipeline": Contender("pipeline", "PrismRunner", "(e) this pipeline, Prism"),
    "consumer": Contender("consumer", "", "(c) consumer, json, set, inserts of 500"),
    "limit_flink": Contender("limit", "FlinkRunner", "(a) ReadFromKafka and a counter, Flink"),
    "pipeline_flink": Contender("pipeline", "FlinkRunner", "(f) this pipeline, Flink"),
    "textbook": Contender("textbook", "PrismRunner", "(b) textbook Beam, Prism", slow=True),
    "textbook_flink": Contender("textbook", "FlinkRunner", "(b) textbook Beam, Flink", slow=True),
    "replaced": Contender("replaced", "", "(d) SELECT and insert an event", slow=True),
}
FURTHER = ("restart", "index", "latency", "memory")
SHORTER = (*CONTENDERS, "restart", "index")
"""Without latency and memory, which take minutes whatever the number of events."""


class Bench:
    """Measured runs, by name of what was run."""

    def __init__(self, where: Site, console: Console, events: int, slow_seconds: float) -> None:
        self._site, self._console = where, console
        self._events, self._slow_seconds = events, slow_seconds
        self.runs: dict[str, list[dict[str, Any]]] = {}

    def compare(self, name: str) -> None:
        """Run a contender over the topic once. Raises ValueError if a key is lost or written twice."""
        contender = CONTENDERS[name]
        sent = self._site.topic("events", self._events)
        seconds = self._slow_seconds if contender.slow else LONGEST_SECONDS
        runner = {"runner": contender.runner} if contender.runner else {}
        self._note(name, self._site.measure(contender.module, "events", self._events, seconds, **runner))
        if contender.module in ("pipeline", "consumer"):
            self._check(self.runs[name][-1]["name"], contender.module, sent)

    def _check(self, dataset: str, module: str, sent: dict[str, int]) -> None:
        operations = f"{dataset}_operations.dead_letters" if module == "pipeline" else f"{dataset}.{LETTERS}"
        rows = self._site.count(f"SELECT COUNT(*) FROM {dataset}.{TABLE}")
        keys = self._site.count(f"SELECT COUNT(DISTINCT event_id) FROM {dataset}.{TABLE}")
        refused = self._site.count(f"SELECT COUNT(*) FROM {operations}")
        if (rows, keys, refused) != (sent["keys"], sent["keys"], sent["refused"]):
            raise ValueError(f"{dataset}: {rows} rows, {keys} keys, {refused} refused of {sent}")

    def latency(self) -> None:
        """Measure latency at a steady rate, of the counter and of the pipeline."""
        events = LATENCY_RATE * LATENCY_SECONDS
        for contender in ("limit", "pipeline"):
            with self._site.live_topic(events, LATENCY_RATE) as topic:
                run = self._site.measure(contender, topic, events, LONGEST_SECONDS, warm_seconds=WARM_SECONDS)
                self._note(f"latency_{contender}", run)

    def memory(self, events: int) -> None:
        """Measure the memory of the process at half of the events and at all of them, with a horizon of a minute."""
        with self._site.live_topic(events, MEMORY_RATE) as topic:
            run = self._site.measure("memory", topic, events, LONGEST_SECONDS, arguments=["--dedup_horizon=60s"])
            self._note("memory", run)

    def restart(self, keys: int) -> None:
        """Measure the time from the start to the first rows, with an empty table and with a table of `keys` keys."""
        self._site.topic("restart", RESTART_EVENTS)
        for held in (0, keys):
            name = self._site.unique("restart")
            if held:
                self._site.call("benchmarks.streaming.fill", name, str(held))
            run = self._site.measure("pipeline", "restart", RESTART_EVENTS, LONGEST_SECONDS, name=name)
            self._note("restart_full" if held else "restart_empty", run)

    def index(self, sizes: Sequence[int]) -> None:
        """Measure the bytes that a key takes in the index."""
        for keys in sizes:
            self._note(f"index_{keys}", self._site.call("benchmarks.streaming.index", str(keys)))

    def median(self, name: str, figure: str) -> float | None:
        """Return the median of a figure, None if it was not measured."""
        runs = self.runs.get(name)
        return median(run[figure] for run in runs) if runs else None

    def rate(self, name: str) -> float | None:
        """Return the median rate of a contender in events per second, None if it was not measured."""
        runs = self.runs.get(name)
        return median(run["records"] / run["seconds"] for run in runs) if runs else None

    def _note(self, name: str, run: dict[str, Any]) -> None:
        self.runs.setdefault(name, []).append(run)
        others = {key: value for key, value in run.items() if key not in ("name", "records", "seconds")}
        if "seconds" in run:
            rate = run["records"] / run["seconds"]
            self._console.print(f"{name:16} {run['records']:9,} in {run['seconds']:7.2f} s {rate:9,.0f}/s", end=" ")
        else:
            self._console.print(f"{name:16}", end=" ")
        self._console.print(others, highlight=False, soft_wrap=True)


def requirements(bench: Bench) -> list[Requirement]:
    """Return the figures that have a limit, if they were measured."""
    ratios: list[tuple[str, float | None, float | None, float, bool]] = [
        ("(e) over (a), Prism (aim 0.7)", bench.rate("pipeline"), bench.rate("limit"), 0.4, True),
        ("(e) over (b) on Flink", bench.rate("pipeline"), bench.rate("textbook_flink"), 20, True),
        ("(e) over (c)", bench.rate("pipeline"), bench.rate("consumer"), 3, True),
        ("(f) over (a), Flink (aim 0.7)", bench.rate("pipeline_flink"), bench.rate("limit_flink"), 0.3, True),
        (
            "process, all events over half of them, horizon 60 s",
            bench.median("memory", "whole_bytes"),
            bench.median("memory", "half_bytes"),
            1.1,
            False,
        ),
    ]
    measured = [
        Requirement(name, figure / reference, limit, at_least)
        for name, figure, reference, limit, at_least in ratios
        if figure is not None and reference is not None
    ]
    later = _difference(bench.median("latency_pipeline", "p99_ms"), bench.median("latency_limit", "p99_ms"))
    longer = _difference(bench.median("restart_full", "start_seconds"), bench.median("restart_empty", "start_seconds"))
    if later is not None:
        measured.append(Requirement("p99 latency above that of (a), s", later / 1000, 1.5, at_least=False))
    if longer is not None:
        measured.append(Requirement("restart with keys, longer than without, s", longer, 10, at_least=False))
    for name in bench.runs:
        if name.startswith("index_"):
            keys, size = int(name.removeprefix("index_")), bench.median(name, "bytes_per_key")
            assert size is not None
            measured.append(Requirement(f"bytes a key at {keys:,} keys", size, 64, at_least=False))
    return measured


def _difference(figure: float | None, reference: float | None) -> float | None:
    return None if figure is None or reference is None else figure - reference


def show(console: Console, bench: Bench, events: int) -> None:
    """Print the rates."""
    table = Table(title=f"{events:,} events, medians", title_justify="left")
    for heading in ("contender", "events", "seconds", "events/s", "CPU us/event"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for name, runs in bench.runs.items():
        if name in CONTENDERS:
            cost = median(sum(run["processor"].values()) / run["records"] * 1e6 for run in runs)
            records, seconds = bench.median(name, "records"), bench.median(name, "seconds")
            cells = (f"{records:,.0f}", f"{seconds:,.2f}", f"{bench.rate(name):,.0f}", f"{cost:,.1f}")
            table.add_row(CONTENDERS[name].title, *cells)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    add = parser.add_argument
    add("--full", action="store_true", help="more events, three rounds, and limits that apply: an hour")
    everything = (*CONTENDERS, *FURTHER)
    add("--only", help=f"some of {','.join(everything)} (default with --full: all, else all but latency, memory)")
    add("--directory", type=Path, help="keep the servers' data here (default: a temporary folder)")
    options = parser.parse_args(arguments)
    sizes = FULL if options.full else SHORT
    only = options.only.split(",") if options.only else everything if options.full else SHORTER
    if unknown := set(only) - set(everything):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(everything)}")
    console = Console()
    with site(console, options.directory) as where:
        bench = Bench(where, console, sizes.events, sizes.slow_seconds)
        for _ in range(sizes.rounds):
            for name in (name for name in CONTENDERS if name in only):
                bench.compare(name)
        for _ in range(sizes.rounds):
            if "latency" in only:
                bench.latency()
            if "restart" in only:
                bench.restart(sizes.restart_keys)
        if "memory" in only:
            bench.memory(MEMORY_EVENTS)
        if "index" in only:
            bench.index(sizes.index_keys)
    show(console, bench, sizes.events)
    met = print_requirements(console, requirements(bench))
    if not options.full:
        console.print("the limits apply with --full only: here are too few events")
        return 0
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
