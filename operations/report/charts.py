"""The charts of a report: from its figures to values by step of time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import cycle

from connectors.bookkeeping.line_sums import DOORS
from operations.report.figures import Figures, Flow
from operations.report.svg import Chart, Series
from operations.report.window import Window
from transforms.latency import quantile

__all__ = ["PERCENTILES", "charts_of", "doors_of", "latencies_of"]

PERCENTILES = {"median": 0.5, "95%": 0.95, "99%": 0.99}
LINES = 6
"""Most lines of a chart, and most parts of a bar besides `others`."""
DOOR_COLORS = {"written": 0, "duplicate": 6, "dead_letter": 1}
STATE_COLORS = {"done": 0, "running": 4, "no end recorded": 6}
FAILED = (1, 3, 5, 2)
"""Colors of the other states, in turn."""
REFUSALS = (1, 2, 3, 4, 5, 0)
"""Colors of error codes, the most frequent first."""
PIPELINES = (0, 2, 5, 3)
OTHERS = 7


def charts_of(figures: Figures) -> dict[str, Chart]:
    """Return the charts by name."""
    window, step = figures.window, figures.window.step.word
    chart = partial(Chart, labels=window.labels, marks=window.marks)
    states, letters = figures.states.items(), figures.letters.items()
    return {
        "runs": chart(
            title="Runs",
            what=f"How the runs ended that began in each {step}.",
            series=_states(window, figures.states),
            unit="runs",
        ),
        "pipelines": chart(
            title="Runs by pipeline",
            what=f"Batches, streams and replays that began in each {step}.",
            series=_stack(window, ((at, pipeline, number) for (at, pipeline, _), number in states), PIPELINES),
            unit="runs",
        ),
        "records": chart(
            title="Records by door",
            what=f"What became of the records that were loaded or streamed in each {step}.",
            series=_doors(window, figures.flows),
            unit="records",
        ),
        "duplicates": chart(
            title="Duplicates",
            what=f"How many of a hundred records of a table were duplicates, in each {step}.",
            series=_duplicates(window, figures.flows),
            stacked=False,
            unit="%",
            digits=1,
        ),
        "throughput": chart(
            title="Throughput",
            what="Records a second: of a batch from its start to its end, of a stream between its lines in the ledger.",
            series=_rates(window, figures.rates),
            stacked=False,
            unit="records/s",
        ),
        "latency": chart(
            title="End-to-end latency of streams",
            what="Seconds from a record's timestamp in Kafka until its row can be queried; at most 9% too high.",
            series=_latency(window, figures.flows),
            stacked=False,
            logarithmic=True,
            unit="seconds",
            digits=3,
        ),
        "codes": chart(
            title="Dead letters by code",
            what=f"Records that were refused in each {step}, by error code.",
            series=_stack(window, ((at, code, number) for (at, _, code), number in letters), REFUSALS),
            unit="dead letters",
        ),
        "refused": chart(
            title="Dead letters by table",
            what=f"Records that were refused in each {step}, by table.",
            series=_stack(window, ((at, table, number) for (at, table, _), number in letters)),
            unit="dead letters",
        ),
    }


def doors_of(flows: Iterable[Flow]) -> dict[str, dict[str, int]]:
    """Return the sums of read, written, duplicate and dead_letter of each table, by its name."""
    sums: dict[str, dict[str, int]] = {}
    for flow in flows:
        counts = sums.setdefault(flow.table, dict.fromkeys(DOORS, 0))
        for door in DOORS:
            counts[door] += getattr(flow, door)
    return dict(sorted(sums.items()))


def latencies_of(flows: Iterable[Flow]) -> dict[str, list[float | None]]:
    """Return the seconds of each of PERCENTILES for each table that has latencies."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for flow in flows:
        counts[flow.table].update(flow.latency)
    return {
        name: [_seconds(classes, share) for share in PERCENTILES.values()]
        for name, classes in sorted(counts.items())
        if classes
    }


def _seconds(classes: Mapping[int, int], share: float) -> float | None:
    milliseconds = quantile(classes, share)
    return None if milliseconds is None else milliseconds / 1000


def _steps(window: Window, sums: Mapping[datetime, int]) -> tuple[int, ...]:
    return tuple(sums.get(at, 0) for at in window.starts)


def _states(window: Window, states: Mapping[tuple[datetime, str, str], int]) -> tuple[Series, ...]:
    sums: dict[str, Counter[datetime]] = defaultdict(Counter)
    for (at, _, state), number in states.items():
        sums[state][at] += number
    names = sorted(sums, key=lambda name: (name not in STATE_COLORS, name))
    colors = STATE_COLORS | dict(zip((name for name in names if name not in STATE_COLORS), cycle(FAILED), strict=False))
    return tuple(Series(name.replace("_", " "), _steps(window, sums[name]), colors[name]) for name in names)


def _doors(window: Window, flows: Iterable[Flow]) -> tuple[Series, ...]:
    sums: dict[str, Counter[datetime]] = {door: Counter() for door in DOOR_COLORS}
    for flow in flows:
        for door, counts in sums.items():
            counts[flow.at] += getattr(flow, door)
    return tuple(
        Series(door.replace("_", " "), _steps(window, counts), DOOR_COLORS[door]) for door, counts in sums.items()
    )


def _duplicates(window: Window, flows: Iterable[Flow]) -> tuple[Series, ...]:
    read: dict[str, Counter[datetime]] = defaultdict(Counter)
    twice: dict[str, Counter[datetime]] = defaultdict(Counter)
    for flow in flows:
        read[flow.table][flow.at] += flow.read
        twice[flow.table][flow.at] += flow.duplicate
    names = sorted((name for name in twice if twice[name].total()), key=lambda name: (-twice[name].total(), name))
    return tuple(
        Series(
            name,
            tuple(100 * twice[name][at] / read[name][at] if read[name][at] else None for at in window.starts),
            color,
        )
        for color, name in enumerate(names[:LINES])
    )


def _rates(window: Window, rates: Mapping[tuple[datetime, str], float]) -> tuple[Series, ...]:
    names = sorted({pipeline for _, pipeline in rates})
    return tuple(
        Series(name, tuple(rates.get((at, name)) for at in window.starts), color) for color, name in enumerate(names)
    )


def _latency(window: Window, flows: Iterable[Flow]) -> tuple[Series, ...]:
    by_step: dict[datetime, Counter[int]] = defaultdict(Counter)
    for flow in flows:
        by_step[flow.at].update(flow.latency)
    return tuple(
        Series(name, tuple(_seconds(by_step[at], share) for at in window.starts), color)
        for color, (name, share) in enumerate(PERCENTILES.items())
    )


def _stack(
    window: Window, numbers: Iterable[tuple[datetime, str, int]], colors: Sequence[int] = range(LINES)
) -> tuple[Series, ...]:
    """Return the parts of bars, the largest first; `numbers` are a step, the name of a part, and a number each."""
    sums: dict[str, Counter[datetime]] = defaultdict(Counter)
    for at, name, number in numbers:
        sums[name][at] += number
    names = sorted(sums, key=lambda name: (-sums[name].total(), name))
    shown = [Series(name, _steps(window, sums[name]), color) for name, color in zip(names, colors, strict=False)]
    others = sum((sums[name] for name in names[len(shown) :]), Counter[datetime]())
    return (*shown, *([Series("others", _steps(window, others), OTHERS)] if others else []))
