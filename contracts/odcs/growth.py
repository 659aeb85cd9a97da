"""How long a text can a derived column make of a short one? An expression that could fill memory is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["MAX_GROWTH", "MAX_PADDING", "growing"]

MAX_PADDING = 1_000
"""Characters that LPAD and RPAD fill up to."""
MAX_GROWTH = 16
"""Times its length that replacing and joining can make of a text, all calls of an expression together."""

WORD = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\w+|\S")
TEXT = re.compile(r"'(?:[^']|'')*'")
CALLS = ("LPAD", "RPAD", "REPLACE", "REGEXP_REPLACE", "ARRAY_TO_STRING")
Arguments = Sequence[Sequence[str]]


def growing(logic: str) -> str:
    """What is wrong with the growth of an SQL expression; empty if nothing is."""
    growth = 1.0
    for name, arguments in _calls(WORD.findall(logic)):
        if name in ("LPAD", "RPAD"):
            width = "".join(arguments[1]) if len(arguments) > 1 else ""
            if not width.isdigit() or int(width) > MAX_PADDING:
                return f"uses {name}, whose length must be a number up to {MAX_PADDING}"
            continue
        last = arguments[1:2] if name == "ARRAY_TO_STRING" else arguments[2:3]
        if (put := _text(last)) is None:
            return f"uses {name}, whose last argument must be a text in quotes"
        old = _text(arguments[1:2]) if name == "REPLACE" else None
        growth *= max(1.0, len(put) / len(old)) if old else 1 + len(put)
    if growth > MAX_GROWTH:
        return f"can make a text more than {MAX_GROWTH} times as long"
    return ""


def _calls(words: Sequence[str]) -> Iterator[tuple[str, Arguments]]:
    """The calls of CALLS and the words of each of their arguments."""
    for at, word in enumerate(words):
        if word.upper() in CALLS and words[at + 1 : at + 2] == ["("]:
            yield word.upper(), _arguments(words, at + 2)


def _arguments(words: Sequence[str], at: int) -> Arguments:
    arguments: list[list[str]] = [[]]
    depth = 0
    for word in words[at:]:
        depth += (word in "([") - (word in ")]")
        if depth < 0:
            break
        if word == "," and not depth:
            arguments.append([])
        else:
            arguments[-1].append(word)
    return arguments


def _text(arguments: Arguments) -> str | None:
    """The text that the argument is, None if it is an expression."""
    if len(arguments) != 1 or len(arguments[0]) != 1 or not TEXT.fullmatch(arguments[0][0]):
        return None
    return arguments[0][0][1:-1].replace("''", "'")
