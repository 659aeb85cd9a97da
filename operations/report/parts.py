"""The parts that the sections of a report share: tables, states, numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from console.html import Html, Part, tag

__all__ = [
    "BAD",
    "TONES",
    "cut_note",
    "duration",
    "empty_box",
    "moment",
    "pair",
    "plain_number",
    "share",
    "state_word",
    "titled_table",
]

GOOD, BAD, WARN = "good", "bad", "warn"
TONES = {"done": GOOD, "kept": GOOD, "running": "", "no end recorded": WARN, "quality_broken": WARN}
"""How a state looks; all others are bad. The word is always there, too."""


def titled_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[Part]], right: Iterable[int] = (), note: str | None = None
) -> Html:
    """Return a table in its own box, which scrolls sideways if the page is too narrow."""
    numbers = set(right)
    kinds = ["n" if number in numbers else None for number in range(len(head))]
    body = (
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            (tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    )
    table = tag(
        "table",
        tag(
            "thead",
            tag("tr", (tag("th", name, scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True))),
        ),
        tag("tbody", body),
        aria_label=title,
        class_="many" if len(head) > 5 else None,
    )
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=title)
    return tag("div", tag("h3", title), tag("p", note, class_="soft") if note else None, scroll, class_="box")


def empty_box(title: str, why: str) -> Html:
    """Return the box of a table without rows."""
    return tag("div", tag("h3", title), tag("p", why, class_="empty"), class_="box")


def pair(*parts: Part) -> Html:
    """Return parts side by side where the page is wide enough."""
    return tag("div", parts, class_="grid")


def cut_note(shown: int, total: int, what: str, how: str) -> str | None:
    """Return how many of all are shown, and `how` to see the others; None if these are all."""
    return f"{shown:,} of {total:,} {what}: {how}." if shown < total else None


def state_word(state: str) -> Html:
    """Return the state of a run, a level or a rule in its color."""
    return tag("span", state.replace("_", " "), class_=f"w {TONES.get(state, BAD)}".strip())


def share(part: int, whole: int) -> str:
    """Return the percentage."""
    return f"{part / whole:.1%}" if whole else ""


def moment(at: datetime) -> Html:
    """Return a time in UTC, to the minute."""
    at = at.astimezone(UTC)
    return tag("time", f"{at:%Y-%m-%d %H:%M}", datetime=f"{at:%Y-%m-%dT%H:%M:%SZ}", class_="w")


def duration(seconds: float) -> str:
    """Return a short time: 250 ms, 3.2 s."""
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def plain_number(value: str | None) -> str:
    """Return a number that is written as text without zeros at its end; '' for None."""
    return "" if value is None else f"{Decimal(value).normalize():,f}"
