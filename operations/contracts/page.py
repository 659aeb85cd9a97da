"""Tables of contracts as HTML: one page, which needs no network and runs no script, or a part of another page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from console.html import Html, Part, document, tag
from contracts.odcs.documentation import COLUMN_HEAD, column_cells, facts
from contracts.table import Table

__all__ = ["contract", "page"]

STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top; }
code { background: #f3f3f3; }
"""
WHOLE, SHOWN = "refused as a whole", 20
"""What names no column of the contract, and how much of it is shown: a supplier may give a field any name."""


def page(tables: Sequence[Table]) -> str:
    """Return the page. All that contracts say is escaped."""
    title = ", ".join(table.name for table in tables)
    return document(title, STYLE, ((tag("h1", table.name, id=table.name), contract(table)) for table in tables))


def contract(table: Table, refused: Mapping[tuple[str, str | None], int] | None = None) -> tuple[Part, ...]:
    """Return what a contract says about a table, below its heading.

    `refused` is the number of dead letters by code and field; given, a column says how often each rule refused.
    """
    head = [tag("th", name, scope="col") for name in (*COLUMN_HEAD, *([] if refused is None else ["refused"]))]
    paths = {cells[0].strip("`") for cells in column_cells(table)}
    counts: dict[str, list[str]] = {}
    for (code, field), number in sorted((refused or {}).items(), key=lambda item: (-item[1], str(item[0]))):
        path = (field or "").replace("[]", "")
        counts.setdefault(path if path in paths else WHOLE, []).append(
            f"{code} {number:,}" if path in paths or not field else f"{code} of {field} {number:,}"
        )
    rows = []
    for cells in column_cells(table):
        found = [] if refused is None else [tag("td", ", ".join(counts.get(cells[0].strip("`"), [])))]
        rows.append(
            tag("tr", tag("th", _marked(cells[0]), scope="row"), (tag("td", _marked(c)) for c in cells[1:]), found)
        )
    whole = counts.get(WHOLE, [])
    more = f" and {len(whole) - SHOWN:,} more" if len(whole) > SHOWN else ""
    named = [f"{WHOLE}: {', '.join(whole[:SHOWN])}{more}"] if whole else []
    return (
        tag("p", table.description) if table.description else None,
        tag("ul", (tag("li", _marked(fact)) for fact in [*facts(table), *named]), class_="facts"),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_="many"),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label=f"Columns of {table.name}",
        ),
    )


def _marked(words: str) -> Iterator[Html | str]:
    """Yield Markdown whose only marks are backticks."""
    for number, part in enumerate(words.split("`")):
        yield tag("code", part) if number % 2 else part
