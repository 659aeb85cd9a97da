"""HTML as values: what is not HTML yet is escaped when it becomes a part of it, so nothing can be forgotten."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from console.printable import printable

__all__ = ["Html", "Part", "document", "joined", "tag", "text"]

VOID = ("br", "col", "hr", "link", "meta")
"""Elements without an end."""
POLICY = "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Part = str | int | None | Iterable["Part"]
"""What an element can hold: HTML, text, a number, nothing, or several of these."""


def text(value: object) -> Html:
    """Return any value as text: escaped, and printable, since no control character may reorder what a page shows."""
    return Html(escape(printable(str(value))))


def joined(*parts: Part) -> Html:
    """Return the parts one after the other, those that are not HTML as text."""
    out: list[str] = []
    for part in parts:
        if part is None:
            continue
        if isinstance(part, Html):
            out.append(part)
        elif isinstance(part, str | int):
            out.append(text(part))
        else:
            out.append(joined(*part))
    return Html("".join(out))


def tag(name: str, /, *parts: Part, **attributes: str | float | bool | None) -> Html:
    """Return an element. An attribute `class_` becomes class, `aria_label` aria-label; None and False leave it out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_attribute(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{joined(*parts)}</{name}>")


def document(title: str, style: str, *body: Part, head: Part = None) -> Html:
    """Return a page without network and scripts: its policy allows this style, and images within the page.

    `head` is what else its head has.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    all_of_head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(POLICY.format(style=digest))),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        Html(f"<style>{style}</style>"),
        head,
    )
    page = tag("html", tag("head", all_of_head), tag("body", *body), lang="en")
    return Html(f"<!DOCTYPE html>\n{page}\n")


def _attribute(value: str | float) -> Html:
    """Return the value of an attribute; of a coordinate one decimal at most."""
    if isinstance(value, Html):
        return value
    return text(f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value)
