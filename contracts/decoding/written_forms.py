"""Further ways to write dates, times and timestamps that can be read in one way only, and their common form.

moments.py rewrites single texts, time_columns.py whole columns, both by the rules below: so the two read the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

__all__ = ["DATES", "TIMES", "TIMESTAMPS", "Rewriting"]


class Rewriting:
    """Regular expressions that are replaced one after the other, in Python and in polars."""

    def __init__(self, *rules: tuple[str, str]) -> None:
        """`rules` are pairs of an expression that both know, and a replacement in which {1} is the first group."""
        self._compiled: Sequence[tuple[re.Pattern[str], str]] = [
            (re.compile(expression), re.sub(r"\{([0-9])\}", r"\\g<\1>", into)) for expression, into in rules
        ]
        self._polars = [(expression, re.sub(r"\{([0-9])\}", r"${\1}", into)) for expression, into in rules]

    def match(self, form: re.Pattern[str], text: str) -> re.Match[str] | None:
        """Return the match of the whole text, or of its common form, if one of them has this form."""
        return form.fullmatch(text) or form.fullmatch(self._common(text))

    def _common(self, text: str) -> str:
        for expression, into in self._compiled:
            text = expression.sub(into, text, count=1)
        return text

    def common_column(self, texts: pl.Series) -> pl.Series:
        """Return each text in the common form, null for null; a text of no further form may be rewritten in part."""
        column = pl.col(texts.name)
        for expression, into in self._polars:
            column = column.str.replace(expression, into)
        return texts.to_frame().select(column).to_series()


_SLASHES = "^([0-9]{4})/([0-9]{2})/([0-9]{2})", "{1}-{2}-{3}"
_COMMA = r"^([0-9T: -]{0,11}[0-9]{2}:[0-9]{2}:[0-9]{2}),([0-9])"
DATES = Rewriting(_SLASHES)
TIMES = Rewriting((_COMMA, "{1}.{2}"))
TIMESTAMPS = Rewriting(
    ("^([0-9]{4})([0-9]{2})([0-9]{2})[Tt]([0-9]{2})([0-9]{2})([0-9]{2})", "{1}-{2}-{3}T{4}:{5}:{6}"),
    _SLASHES,
    ("^([0-9-]{10})t", "{1}T"),
    (_COMMA, "{1}.{2}"),
    (r"([Zz]|[+-][0-9:]{2,5})\[[A-Za-z0-9_/+-]{1,40}\]$", "{1}"),
    (r" ?(?:\+0000 UTC|[Zz]|UTC|utc|GMT|gmt)$", "Z"),
    (r" ([+-][0-9:]{2,5})$", "{1}"),
    (r"(\.[0-9]{6})[0-9]{1,6}((?:Z|[+-][0-9:]{2,5})?)$", "{1}{2}"),
)
"""RFC 3339 in lower case, ISO 8601 without separators or with a decimal comma, slashes, a zone's name behind its offset
(Java), `+0000 UTC` (Go), and digits behind microseconds, which are cut off."""
