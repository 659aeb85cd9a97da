"""Patterns of dates and times, in the symbols of Java's DateTimeFormatter, which the standard refers to.

A pattern becomes a regular expression that Python and polars both run, and its parts become one ISO 8601 text. So the
fast path and the row-wise validator read the same values: both read that text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

__all__ = ["SYMBOLS", "DateFormat"]

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ZONE = r"Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?"
SYMBOLS = "y M d E H h m s S a X x Z z"
"""The symbols that are supported."""
HINTS = {
    "Y": "the year of a week; write y",
    "D": "the day of a year; write d for the day of a month",
    "V": "the name of a zone; name it as defaultTimezone",
    "O": "an offset by name; write X or Z",
}
PARTS = {
    "y": "year",
    "u": "year",
    "M": "month",
    "L": "month",
    "d": "day",
    "E": "weekday",
    "H": "hour",
    "h": "hour",
    "m": "minute",
    "s": "second",
    "S": "fraction",
    "a": "half",
    "X": "zone",
    "x": "zone",
    "Z": "zone",
    "z": "zone",
}
"""The part of a date or time that a letter stands for."""
MAX_LENGTH = 100
TOKEN = re.compile(r"(?P<letters>([A-Za-z])\2*)|'(?P<quoted>(?:[^']|'')*)'|(?P<mark>[^A-Za-z'])")


@dataclass(frozen=True)
class DateFormat:
    """A pattern such as `dd.MM.yyyy HH:mm`.

    Raises ValueError, with a message that names the letter, for a pattern that is not supported.
    """

    pattern: str

    def __post_init__(self) -> None:
        _ = self._parsed  # raises ValueError

    @property
    def parts(self) -> frozenset[str]:
        """The parts that the pattern has: year, month, day, weekday, hour, half, minute, second, fraction, zone."""
        return frozenset(self._parsed[1])

    def iso(self, text: str) -> str | None:
        """Return the ISO 8601 text of a date and time (without date for a pattern of a time), None if it has no match.

        The numbers are not checked: 31 February is returned as it is.
        """
        match = self._regex.fullmatch(text)
        if match is None:
            return None
        parts = match.groupdict()
        return self._date(parts) + self._time(parts)

    def iso_column(self, texts: pl.Series) -> pl.Series | None:
        """Return the texts that `iso` returns, null for null and for a text without a match; None if not supported.

        A pattern with the name of the weekday is not supported: `iso` compares it with the date.
        """
        expression, forms = self._parsed
        if "weekday" in forms:
            return None
        part = pl.col("").struct.field
        pieces: list[pl.Expr] = []
        if "year" in forms:
            year = part("year") if forms["year"] != "yy" else pl.lit("20") + part("year")
            month = part("month").str.zfill(2)
            if len(forms["month"]) > 2:
                numbers = {name[:3].lower(): f"{number:02}" for number, name in enumerate(MONTHS, 1)}
                month = part("month").str.slice(0, 3).str.to_lowercase().replace_strict(numbers, default=None)
            pieces += [year.str.zfill(4), pl.lit("-"), month, pl.lit("-"), part("day").str.zfill(2)]
        if "hour" in forms:
            hour = part("hour").str.zfill(2)
            if "half" in forms:
                after_noon = part("half").str.to_lowercase() == "pm"
                number = part("hour").cast(pl.Int32, strict=False) % 12 + pl.when(after_noon).then(12).otherwise(0)
                hour = number.cast(pl.String).str.zfill(2)
            pieces += [pl.lit("T"), hour]
            pieces += [pl.lit(":"), part("minute").fill_null("00").str.zfill(2) if "minute" in forms else pl.lit("00")]
            pieces += [pl.lit(":"), part("second").fill_null("00").str.zfill(2) if "second" in forms else pl.lit("00")]
            if "fraction" in forms:
                pieces.append((pl.lit(".") + part("fraction")).fill_null(""))
        elif "year" in forms:
            pieces.append(pl.lit("T00:00:00"))
        if "zone" in forms:
            pieces.append(part("zone").fill_null(""))
        groups = texts.str.extract_groups(f"^(?:{expression})$").alias("").to_frame()
        return groups.select(pl.concat_str(pieces).alias(texts.name)).to_series()

    def _date(self, parts: Mapping[str, str | None]) -> str:
        year, month, day = parts.get("year"), parts.get("month"), parts.get("day")
        if not (year and month and day):
            return ""
        if self._parsed[1]["year"] == "yy":
            year = "20" + year
        if not month.isdigit():
            month = str([name[:3].lower() for name in MONTHS].index(month[:3].lower()) + 1)
        return f"{year:>04}-{month:>02}-{day:>02}"

    def _time(self, parts: Mapping[str, str | None]) -> str:
        hour, half = parts.get("hour"), parts.get("half")
        if hour is None:
            return f"T00:00:00{parts.get('zone') or ''}"
        if half:
            hour = str(int(hour) % 12 + (12 if half.lower() == "pm" else 0))
        minute, second = (parts.get(part) or "00" for part in ("minute", "second"))
        fraction = f".{parts['fraction']}" if parts.get("fraction") else ""
        return f"T{hour:>02}:{minute:>02}:{second:>02}{fraction}{parts.get('zone') or ''}"

    def weekday(self, text: str) -> int | None:
        """Return the number of the weekday that a text with a match names, 0 for Monday; None without one."""
        match = self._regex.fullmatch(text)
        name = match.groupdict().get("weekday") if match else None
        return None if name is None else [day[:3].lower() for day in WEEKDAYS].index(name[:3].lower())

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self._parsed[0])

    @cached_property
    def _parsed(self) -> tuple[str, dict[str, str]]:
        """The regular expression, with a named group for each part, and the symbols of each part."""
        if not 0 < len(self.pattern) <= MAX_LENGTH:
            raise ValueError(f"has not 1 to {MAX_LENGTH} characters")
        forms: dict[str, str] = {}
        expression, position, depth = "", 0, 0
        while position < len(self.pattern):
            token = TOKEN.match(self.pattern, position)
            if token is None:
                raise ValueError("has a quote that is not closed")
            position = token.end()
            letters, quoted, mark = token["letters"], token["quoted"], token["mark"]
            if letters:
                expression += _letters(letters, forms, optional=depth > 0)
            elif quoted is not None:
                expression += re.escape(quoted.replace("''", "'") or "'")
            elif mark == "[":
                expression, depth = expression + "(?:", depth + 1
            elif mark == "]":
                if not depth:
                    raise ValueError("has a ] without a [")
                expression, depth = expression + ")?", depth - 1
            elif mark in "{}#":
                raise ValueError(f"has {mark}, which Java reserves")
            else:
                expression += re.escape(mark)
        if depth:
            raise ValueError("has a [ without a ]")
        _check(forms)
        return expression, forms


def _part(letters: str) -> str:
    part = PARTS.get(letters[0])
    if part is None:
        hint = HINTS.get(letters[0], f"supported are {SYMBOLS}; put words in quotes: 'at'")
        raise ValueError(f"has {letters}, which is not supported ({hint})")
    longest = {"year": 4, "month": 4, "weekday": 4, "fraction": 12, "half": 1, "zone": 5}.get(part, 2)
    if len(letters) > longest or letters in ("yyy", "uuu"):
        raise ValueError(f"has {letters}, which is not supported (at most {longest} of {letters[0]})")
    return part


def _letters(letters: str, forms: dict[str, str], *, optional: bool) -> str:
    """Return the group of one part, and add the part to `forms`. Raises ValueError if it may not be there."""
    if letters == "T":  # not a letter of Java's, but common without its quotes
        return "T"
    part = _part(letters)
    if part in forms:
        raise ValueError(f"has the {part} twice ({forms[part]} and {letters})")
    if optional and part in ("year", "month", "day", "hour", "half"):
        raise ValueError(f"has {letters} in brackets, but only m, s, S and the zone can be optional")
    forms[part] = letters
    return f"(?P<{part}>{_expression(letters, part)})"


def _expression(letters: str, part: str) -> str:
    count = len(letters)
    if part == "zone":
        return ZONE
    if part == "half":
        return "[AaPp][Mm]"
    if part == "weekday":
        return _names(WEEKDAYS, short=count < 4)
    if part == "month" and count > 2:
        return _names(MONTHS, short=count == 3)
    if part == "year":
        return {1: "[0-9]{1,4}", 2: "[0-9]{2}", 4: "[0-9]{4}"}[count]
    if letters in ("h", "hh"):
        return "0[1-9]|1[0-2]" if count == 2 else "0?[1-9]|1[0-2]"
    if part == "fraction":
        return f"[0-9]{{{count}}}"
    return "[0-9]{2}" if count == 2 else "[0-9]{1,2}"


def _names(names: tuple[str, ...], short: bool) -> str:
    words = (name[:3] if short else name for name in names)
    return "|".join("".join(f"[{letter.upper()}{letter.lower()}]" for letter in word) for word in words)


def _check(forms: Mapping[str, str]) -> None:
    date, time = [part in forms for part in ("year", "month", "day")], "hour" in forms
    if any(date) and not all(date):
        missing = [letter for letter, there in zip("yMd", date, strict=True) if not there]
        raise ValueError(f"has a part of a date, but no {' and no '.join(missing)}")
    if not all(date) and not time:
        raise ValueError("has neither a date nor an hour")
    if "weekday" in forms and not all(date):
        raise ValueError("has a weekday without a date")
    if ("half" in forms) != (forms.get("hour", "H")[0] == "h"):
        raise ValueError("needs h and a together: h counts from 1 to 12, a is AM or PM; H counts from 0 to 23")
    for part, above in (("minute", "hour"), ("second", "minute"), ("fraction", "second")):
        if part in forms and above not in forms:
            raise ValueError(f"has {forms[part]} without the {above}")
