"""Tables of contracts as one HTML page, which needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from console.printable import printable
from contracts.odcs.documentation import COLUMN_HEAD, column_cells, facts
from contracts.table import Table

__all__ = ["page"]

STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top; }
code { background: #f3f3f3; }
"""


def page(tables: Sequence[Table]) -> str:
    """Return the page. All that contracts say is escaped."""
    return "\n".join(_lines(tables)) + "\n"


def _lines(tables: Sequence[Table]) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{_text(', '.join(table.name for table in tables))}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    for table in tables:
        yield f'<h1 id="{_text(table.name)}">{_text(table.name)}</h1>'
        if table.description:
            yield f"<p>{_text(table.description)}</p>"
        yield "<ul>"
        yield from (f"<li>{_text(fact)}</li>" for fact in facts(table))
        yield "</ul>\n<table>"
        yield f"<tr>{''.join(f'<th>{name}</th>' for name in COLUMN_HEAD)}</tr>"
        for cells in column_cells(table):
            yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
        yield "</table>"
    yield "</body>\n</html>"


def _text(value: str) -> str:
    return escape(printable(value.replace("`", "")))
