"""Text from anywhere (cells, messages, file names, run ids), so that a terminal shows it and acts on nothing in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

__all__ = ["printable", "printable_json"]

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (C0, DEL, C1), line separators, what reverses the direction of text, halves of surrogate pairs."""
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""The text on one line, with escapes such as \n, \x1b and \u202e in the place of what a terminal would act on."""
    return UNPRINTABLE.sub(_escape, text)


def printable_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The value as JSON over several lines, escaped alike where JSON alone would not: it is the same value."""
    lines = json.dumps(value, indent=2, default=default, ensure_ascii=False).split("\n")
    return "\n".join(UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in lines)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return SHORT.get(character) or (f"\\x{ord(character):02x}" if character < "\u0100" else f"\\u{ord(character):04x}")
