"""How numbers are written in text: decimal comma, group separators, and signs such as € or %.

A text becomes the plain form of the number, with a decimal point. The fast path and the row-wise validator use the same
regular expression, and read that form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import polars as pl

__all__ = ["BLANKS", "NumberFormat"]

BLANKS = " \t\u00a0\u202f\u2009"
"""Blanks, also the ones that are not broken, which separate groups and signs in many countries."""
GROUPS = (".", ",", "'", "\u2019", "_", *BLANKS)
MAX_SIGNS, MAX_SIGN_LENGTH = 10, 8


@dataclass(frozen=True)
class NumberFormat:
    """The decimal separator, the separator of groups of three digits ("" for none), and the signs that are ignored.

    Blanks around a number and around its signs are ignored too. Raises ValueError for a separator or a sign that could
    be part of a number.
    """

    decimal: str = "."
    group: str = ""
    strip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ',', not {self.decimal!r}")
        if self.group and self.group not in GROUPS:
            raise ValueError(f"group must be one of . , ' _ or a blank, not {self.group!r}")
        if self.group == self.decimal:
            raise ValueError(f"decimal and group are both {self.group!r}")
        if len(self.strip) > MAX_SIGNS:
            raise ValueError(f"strip has more than {MAX_SIGNS} signs")
        for sign in self.strip:
            if not 0 < len(sign) <= MAX_SIGN_LENGTH or re.search(r"[0-9+.,'\-\s]", sign):
                problem = f"up to {MAX_SIGN_LENGTH} characters, without digits, + - . , ' and blanks"
                raise ValueError(f"strip has {sign!r}; a sign is {problem}")

    def plain(self, text: str) -> str | None:
        """Return the number with a decimal point and without groups and signs; None if the text has another form."""
        match = self._regex.fullmatch(text)
        if match is None:
            return None
        whole = (match["whole"] or "").replace(self.group, "") if self.group else match["whole"] or ""
        part = match["part"] or match["only"]
        return f"{match['sign']}{whole or '0'}{'.' + part if part else ''}{match['exponent'] or ''}"

    def plain_column(self, texts: pl.Series) -> pl.Series:
        """Return what `plain` returns for each text, null for null."""
        groups = texts.str.extract_groups(f"^(?:{self._expression})$").alias("").to_frame()
        part = pl.col("").struct.field
        digits = part("whole").fill_null(pl.when(part("only").is_not_null()).then(pl.lit("0")))
        whole = digits.str.replace_all(self.group, "", literal=True) if self.group else digits
        behind = pl.coalesce(pl.when(part("part") != "").then(part("part")), part("only"))
        pieces = [part("sign"), whole, (pl.lit(".") + behind).fill_null(""), part("exponent").fill_null("")]
        return groups.select(pl.concat_str(pieces).alias(texts.name)).to_series()

    @cached_property
    def _expression(self) -> str:
        blank = f"[{BLANKS}]*"
        signs = "|".join(re.escape(sign) for sign in sorted(self.strip, key=len, reverse=True))
        around = f"{blank}(?:{signs})?{blank}" if signs else blank
        grouped = f"[0-9]{{1,3}}(?:{re.escape(self.group)}[0-9]{{3}})+|" if self.group else ""
        point = re.escape(self.decimal)
        return (
            f"{around}(?P<sign>[+-]?){around}"
            f"(?:(?P<whole>{grouped}[0-9]+)(?:{point}(?P<part>[0-9]*))?|{point}(?P<only>[0-9]+))"
            f"(?P<exponent>[eE][+-]?0*[0-9]{{1,9}})?{around}"
        )

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self._expression)
