"""The page of a report: HTML that needs no network and runs no script."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from console.html import Html, Part, document, joined, tag
from contracts.service_levels import shown_seconds
from operations.contracts.page import contract
from operations.report.charts import PERCENTILES, charts_of, doors_of, latencies_of
from operations.report.figures import Figures
from operations.report.letters import Group
from operations.report.parts import (
    BAD,
    TONES,
    cut_note,
    duration,
    empty_box,
    moment,
    pair,
    plain_number,
    share,
    state_word,
    titled_table,
)
from operations.report.style import STYLE
from operations.report.svg import drawn

__all__ = ["page"]

SECTIONS = {
    "runs": "Runs",
    "records": "Records",
    "speed": "Throughput and latency",
    "dead-letters": "Dead letters",
    "freshness": "Freshness and quality",
    "contracts": "Contracts",
}
SHOWN_CONTRACTS = 60


def page(figures: Figures, *remarks: Part) -> str:
    """Return the page. `remarks` come below the title: of a page that is served, how it is refreshed."""
    window = figures.window
    span = f"{window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    charts = {name: drawn(chart) for name, chart in charts_of(figures).items()}
    return document(
        f"Pipeline report, {window.until:%Y-%m-%d}",
        STYLE,
        tag("a", "Skip to the figures", href="#main", class_="skip"),
        tag(
            "header",
            tag("h1", "Pipeline report"),
            tag("p", figures.place, tag("br"), span, class_="soft"),
            remarks,
            _cards(figures),
        ),
        tag(
            "nav",
            tag("ul", (tag("li", tag("a", name, href=f"#{at}")) for at, name in SECTIONS.items())),
            aria_label="Sections",
        ),
        tag(
            "main",
            _section("runs", pair(charts["runs"], charts["pipelines"]), _runs(figures)),
            _section("records", pair(charts["records"], charts["duplicates"]), _doors(figures)),
            _section("speed", pair(charts["throughput"], charts["latency"]), _latencies(figures)),
            _section("dead-letters", pair(charts["codes"], charts["refused"]), _groups(figures)),
            _section("freshness", _levels(figures), _quality(figures), _loaded(figures)),
            _section("contracts", _contracts(figures)),
            id="main",
        ),
        tag(
            "footer", tag("p", "Written from the ledger and the dead letters by launcher.py report. Times are in UTC.")
        ),
        head=tag("link", rel="icon", href="data:,"),  # otherwise a browser asks the server for one
    )


def _section(name: str, *parts: Part) -> Html:
    return tag(
        "section", tag("h2", SECTIONS[name], id=f"{name}-title"), parts, id=name, aria_labelledby=f"{name}-title"
    )


def _cards(figures: Figures) -> Html:
    sums = Counter[str]()
    for counts in doors_of(figures.flows).values():
        sums.update(counts)
    states = Counter[str]()
    for (_, _, state), number in figures.states.items():
        states[state] += number
    failed = sum(number for state, number in states.items() if TONES.get(state, BAD) == BAD)
    newest = max(figures.loaded.values(), default=None)
    letters, read = figures.dead_letters, sums["read"]
    cards: list[tuple[str, str, Part]] = [
        ("runs", f"{states.total():,}", tag("b", f"{failed:,} failed", class_=BAD) if failed else "none failed"),
        ("records read", f"{read:,}", ""),
        ("written", f"{sums['written']:,}", share(sums["written"], read)),
        ("duplicates", f"{sums['duplicate']:,}", share(sums["duplicate"], read)),
        ("dead letters", f"{letters:,}", f"{figures.open:,} open"),
        (
            "last written",
            "none" if newest is None else shown_seconds(_age(figures, newest)),
            moment(newest) if newest else None,
        ),
    ]
    return tag(
        "dl",
        (tag("div", tag("dt", name), tag("dd", value, tag("span", more))) for name, value, more in cards),
        class_="cards",
    )


def _runs(figures: Figures) -> Part:
    if not figures.runs:
        return None
    total = sum(figures.states.values())
    rows = [
        [
            tag("code", run["run"]),
            run["pipeline"],
            state_word(run["state"]),
            moment(run["began"]),
            tag("span", shown_seconds(run["seconds"] or 0), class_="w"),
            *(f"{run[door]:,}" for door in ("read", "written", "duplicate", "dead_letter")),
            f"{run['read'] / max(run['seconds'] or 0, 1):,.0f}",
            (run["why"] or "")[:300],
        ]
        for run in figures.runs
    ]
    head = (
        "run",
        "pipeline",
        "state",
        "began",
        "took",
        "read",
        "written",
        "duplicate",
        "dead letter",
        "records/s",
        "why",
    )
    return titled_table(
        "The newest runs",
        head,
        rows,
        range(5, 10),
        cut_note(len(rows), total, "runs", "launcher.py runs --limit N lists more"),
    )


def _doors(figures: Figures) -> Part:
    rows = [
        [
            name,
            *(f"{number:,}" for number in counts.values()),
            share(counts["duplicate"], counts["read"]),
            share(counts["dead_letter"], counts["read"]),
        ]
        for name, counts in doors_of(figures.flows).items()
    ]
    head = ("table", "read", "written", "duplicate", "dead letter", "duplicates", "refused")
    return titled_table("Records by table", head, rows, range(1, 7)) if rows else None


def _latencies(figures: Figures) -> Part:
    rows = [
        [name, *("" if value is None else duration(value) for value in values)]
        for name, values in latencies_of(figures.flows).items()
    ]
    return titled_table("Latency by table", ("table", *PERCENTILES), rows, range(1, 4)) if rows else None


def _groups(figures: Figures) -> Part:
    if not figures.groups:
        return None
    rows = [
        [
            group.table,
            tag("code", group.code),
            group.field or "",
            f"{group.letters:,}",
            f"{group.open:,}",
            moment(group.newest),
        ]
        for group in figures.groups
    ]
    head = ("table", "code", "field", "dead letters", "open", "newest")
    note = cut_note(
        len(rows), figures.group_count, "groups", "those with most dead letters; launcher.py dead-letters list has all"
    )
    samples = [_samples(group) for group in figures.groups if group.samples]
    return joined(
        titled_table("By table, code and field", head, rows, (3, 4), note),
        tag(
            "div",
            tag("h3", "Samples"),
            tag("p", "The newest of each group. Values of classified columns are ***.", class_="soft"),
            samples,
            class_="box",
        )
        if samples
        else None,
    )


def _samples(group: Group) -> Html:
    name = f"{group.table}: {group.code}{f' of {group.field}' if group.field else ''}"
    items = (
        joined(
            tag(
                "p",
                sample["error_message"],
                tag("br"),
                tag("span", f"{sample['source']} @ {sample['position']:,}, {sample['state']}", class_="soft"),
            ),
            tag("pre", sample["raw"][:1500] + (" …" if len(sample["raw"]) > 1500 else ""), tabindex=0),
        )
        for sample in group.samples
    )
    return tag("details", tag("summary", name, f" ({group.letters:,})"), items)


def _levels(figures: Figures) -> Part:
    rows: list[list[Part]] = [
        [
            each.table,
            each.level.name,
            state_word(each.outcome.value),
            "" if each.seconds is None else shown_seconds(each.seconds),
            shown_seconds(each.level.seconds),
            each.why,
        ]
        for each in figures.levels
    ]
    head = ("table", "level", "outcome", "is", "at most", "why")
    if not rows:
        return empty_box("Service levels", "No table that exists has one in its contract (slaProperties).")
    return titled_table("Service levels", head, rows)


def _loaded(figures: Figures) -> Part:
    rows: list[list[Part]] = [
        [name, moment(newest), shown_seconds(_age(figures, newest))] for name, newest in figures.loaded.items()
    ]
    return titled_table("Last rows", ("table", "written", "age"), rows) if rows else None


def _quality(figures: Figures) -> Part:
    rows: list[list[Part]] = [
        [
            each["name"],
            each["rule"],
            state_word(each["state"]),
            plain_number(each["value"]),
            each["expected"] or each["why"] or "",
            f"{each['broken']:,} of {each['checked']:,}",
        ]
        for each in figures.quality
    ]
    head = ("table", "rule", "newest", "is", "expected", "not kept")
    if not rows:
        return empty_box("Quality rules", "No run has checked one in this time.")
    note = cut_note(len(rows), figures.rule_count, "rules", "those that are not kept come first")
    return titled_table("Quality rules", head, rows, (3, 5), note)


def _contracts(figures: Figures) -> Part:
    """Return the contracts; those whose records were refused come first."""
    by_table: dict[str, Counter[tuple[str, str | None]]] = {}
    for (table, code, field), number in figures.refused.items():
        by_table.setdefault(table, Counter())[code, field] += number
    names = sorted(
        figures.tables, key=lambda name: (-by_table.get(name, Counter[tuple[str, str | None]]()).total(), name)
    )
    shown = (
        tag(
            "details",
            tag("summary", tag("b", name), f": {by_table[name].total() if name in by_table else 0:,} refused"),
            contract(figures.tables[name], by_table.get(name, {})),
            class_="box",
        )
        for name in names[:SHOWN_CONTRACTS]
    )
    others = sorted(by_table.keys() - figures.tables.keys())
    unknown = f"No contract names {', '.join(others[:10])}: give theirs by --contracts." if others else None
    cap = cut_note(min(len(names), SHOWN_CONTRACTS), len(names), "contracts", "those with most dead letters")
    return joined(
        shown, tag("p", unknown, class_="warn") if unknown else None, tag("p", cap, class_="soft") if cap else None
    )


def _age(figures: Figures, newest: datetime) -> float:
    return max((figures.window.until - newest).total_seconds(), 0)
