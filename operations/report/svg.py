"""Charts as plain SVG: bars that are stacked, or lines, over time. Colors are classes (c0, c1, …) of the page's style.

Each chart is drawn for a wide and for a narrow page, so that its text has the page's size on both. The figures are in a
table below it, which a screen reader reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.html import Html, joined, tag

__all__ = ["Chart", "Series", "drawn", "figures", "nice_ticks", "short"]

WIDE, NARROW, HEIGHT = 620.0, 340.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 8.0, 10.0, 24.0
"""Margins around the plot, in pixels: for the labels of both axes."""
LABEL_WIDTH = 48.0
LEAST = 1.5
"""Height in pixels of a value that is not 0: one of a million is seen."""
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one thing, one for each label of the chart; None if there is none."""

    name: str
    values: tuple[float | None, ...]
    color: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn: values by label. `labels`, `marks` and the values of each series have one length, at least 1."""

    title: str
    what: str
    """A sentence on what it shows."""
    labels: tuple[str, ...]
    marks: tuple[str, ...]
    """The labels of the axis: shorter ones."""
    series: tuple[Series, ...]
    stacked: bool = True
    """Bars on top of each other, from 0; else lines."""
    logarithmic: bool = False
    """Of lines: each step of the axis is ten times the one before."""
    unit: str = ""
    digits: int = 0
    """Decimals of a value in the table."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for series in self.series for value in series.values)

    @property
    def greatest(self) -> float:
        """The greatest value, or the greatest sum of a stack."""
        columns = zip(*(series.values for series in self.series), strict=True)
        heights = (sum(known) if self.stacked else max(known, default=0) for known in map(_known, columns))
        return max(heights, default=0)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def short(number: float) -> str:
    """Return a number for an axis, in at most five characters: 950, 1.2k, 3M."""
    size, unit = next(((size, unit) for size, unit in UNITS if abs(number) >= size), (1.0, ""))
    return f"{number / size:.3g}{unit}"


def nice_ticks(greatest: float, most: int = 4, *, whole: bool = False) -> list[float]:
    """Return up to `most` + 1 round numbers from 0 to at least `greatest`, in steps of 1, 2 or 5 times 10^n.

    `whole` numbers have steps of at least 1.
    """
    if greatest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(max(greatest / most, 1.0 if whole else 0.0)))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * most >= greatest * (1 - 1e-9))
    count = math.ceil(greatest / step - 1e-9)
    return [round(step * number, 12) for number in range(count + 1)]


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return the powers of ten from below the least of `values`, which are above 0, to above the greatest."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where values are in a picture of `width` pixels."""

    chart: Chart
    width: float
    ticks: Sequence[float]

    @property
    def step(self) -> float:
        return (self.width - LEFT - RIGHT) / len(self.chart.labels)

    def x(self, number: int) -> float:
        """Return the middle of the place of a label."""
        return LEFT + self.step * (number + 0.5)

    def y(self, value: float) -> float:
        """Return the height of a value; what a logarithm does not have is at the bottom."""
        bottom, top = self.ticks[0], self.ticks[-1]
        share = (
            math.log(max(value, bottom) / bottom) / math.log(top / bottom) if self.chart.logarithmic else value / top
        )
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def drawn(chart: Chart) -> Html:
    """Return the chart with its legend and its table."""
    if chart.empty:
        picture = tag("p", "Nothing in this time.", class_="empty")
    else:
        picture = joined(_legend(chart), _picture(chart, WIDE, "wide"), _picture(chart, NARROW, "narrow"))
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), tag("p", chart.what)),
        picture,
        None if chart.empty else figures(chart),
    )


def figures(chart: Chart) -> Html:
    """Return the table of a chart's values, to be opened."""
    head = tag("tr", tag("th", "", tag("span", "time (UTC)"), scope="col"), (_head(each.name) for each in chart.series))
    rows = (
        tag("tr", tag("th", label, scope="row"), (_figure(chart, each.values[number]) for each in chart.series))
        for number, label in enumerate(chart.labels)
    )
    table = tag(
        "table",
        tag("caption", f"{chart.title}{chart.unit and f', {chart.unit}'}"),
        tag("thead", head),
        tag("tbody", rows),
    )
    return tag(
        "details",
        tag("summary", f"Figures: {chart.title}"),
        tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=f"Figures: {chart.title}"),
    )


def _head(name: str) -> Html:
    return tag("th", name, scope="col", class_="n")


def _figure(chart: Chart, value: float | None) -> Html:
    return tag("td", "" if value is None else f"{value:,.{chart.digits}f}", class_="n")


def _legend(chart: Chart) -> Html:
    kind = "" if chart.stacked else " line"
    items = (
        tag("li", tag("svg", _swatch(chart, each), width=14, height=12, aria_hidden="true"), each.name)
        for each in chart.series
    )
    return tag("ul", items, class_=f"legend{kind}")


def _swatch(chart: Chart, series: Series) -> Html:
    if chart.stacked:
        return tag("rect", x=1, y=1, width=11, height=10, class_=f"c{series.color}")
    return tag("path", d="M0 6H14", class_=f"line l{series.color}")


def _picture(chart: Chart, width: float, name: str) -> Html:
    values = [value for series in chart.series for value in _known(series.values) if value > 0]
    ticks = log_ticks(values) if chart.logarithmic else nice_ticks(chart.greatest, whole=not chart.digits)
    plot = _Plot(chart, width, ticks)
    marks = _bars(plot) if chart.stacked else _lines(plot)
    label = f"{chart.title}. {chart.what} The figures are in the table below."
    return tag(
        "svg",
        _axes(plot),
        marks,
        viewBox=f"0 0 {width:.0f} {HEIGHT:.0f}",
        class_=f"chart {name}",
        role="img",
        aria_label=label,
    )


def _axes(plot: _Plot) -> Iterator[Html]:
    right = plot.width - RIGHT
    for tick in plot.ticks:
        y = plot.y(tick)
        yield tag("path", d=f"M{LEFT:.0f} {y:.1f}H{right:.0f}", class_="rule")
        yield tag("text", short(tick), x=LEFT - 6, y=y + 4, text_anchor="end")
    marks = plot.chart.marks
    every = max(1, math.ceil(LABEL_WIDTH / plot.step))
    for number in range(0, len(marks), every):
        yield tag("text", marks[number], x=plot.x(number), y=HEIGHT - 6, text_anchor="middle")


def _bars(plot: _Plot) -> Iterator[Html]:
    width = max(1.0, min(plot.step * 0.8, 46.0))
    for number, label in enumerate(plot.chart.labels):
        rects, height = [], 0.0
        for series in plot.chart.series:
            value = series.values[number] or 0
            if value <= 0:
                continue
            size = max(LEAST, plot.y(0) - plot.y(value))
            height += size
            y = plot.y(0) - height
            rects.append(
                tag("rect", x=plot.x(number) - width / 2, y=y, width=width, height=size, class_=f"c{series.color}")
            )
        if rects:
            yield tag("g", tag("title", _hint(plot.chart, number, label)), rects)


def _hint(chart: Chart, number: int, label: str) -> str:
    said = [f"{each.name} {value:,.{chart.digits}f}" for each in chart.series if (value := each.values[number])]
    return f"{label}: {', '.join(said)} {chart.unit}".rstrip()


def _lines(plot: _Plot) -> Iterator[Html]:
    radius = 3 if plot.step >= 14 else 1.5
    for series in plot.chart.series:
        points = [(number, value) for number, value in enumerate(series.values) if value is not None]
        runs: list[list[tuple[int, float]]] = []
        for number, value in points:
            if not runs or runs[-1][-1][0] != number - 1:
                runs.append([])
            runs[-1].append((number, value))
        for run in runs:
            path = " ".join(f"{plot.x(number):.1f} {plot.y(value):.1f}" for number, value in run)
            yield tag("path", d=f"M{path}", class_=f"line l{series.color}")
        for number, value in points:
            hint = f"{plot.chart.labels[number]}: {series.name} {value:,.{plot.chart.digits}f} {plot.chart.unit}"
            yield tag(
                "g",
                tag("title", hint.rstrip()),
                tag("circle", cx=plot.x(number), cy=plot.y(value), r=radius, class_=f"c{series.color}"),
            )
