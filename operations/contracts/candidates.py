"""The forms that the values of a field may have, and which of them the values do have.

A form is a property of a contract. Whether a value has it is decided by the code that validates a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.date_format import DateFormat
from contracts.decoding.json_text import Number
from contracts.decoding.values import validate_value
from contracts.odcs.columns import columns_of
from contracts.odcs.document import Place
from contracts.refusal import NotClean
from contracts.table import Column

__all__ = ["Form", "Match", "best_match", "column_of_form", "matches_of"]

MAX_BAD_SHARE = 0.003
"""Of the values of a column, how many may be dead letters where a form is still plainly meant."""
MIN_NEAR = 0.9
"""Of the values of a text column, how many have another type where that is said."""
MIN_TOLERANT = 300
FIRST = 64
"""Values that are tried before all others."""
NULLS = ("NA", "N/A", "n/a", "NULL", "null", "None", "none", "\\N", "-", "nan", "NaN", "?", "#N/A")
TIME_WORDS = re.compile(
    r"(?i)time|date|epoch|stamp|(^|_)(ts|at|on|day|since|created|updated|begin|start|end)(_|$|ms$)|At$|Ts$"
)
FLAG_WORDS = re.compile(r"^(is|has|can|was|should)(_|[A-Z])|(?i:_flag$|^(active|enabled|deleted|valid)$)")
PLAIN_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)")
EXPONENT = re.compile(rf"{PLAIN_NUMBER.pattern}([eE][+-]?[0-9]+)?")
ZONE = re.compile(r".*(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)$")
DAYS = (
    *("dd/MM/yyyy", "MM/dd/yyyy", "d/M/yyyy", "M/d/yyyy", "dd.MM.yyyy", "d.M.yyyy", "dd-MM-yyyy"),
    *("MM-dd-yyyy", "yyyy/MM/dd", "yyyy.MM.dd", "dd/MM/yy", "MM/dd/yy", "dd.MM.yy", "dd MMM yyyy"),
    *("d MMM yyyy", "dd-MMM-yyyy", "d MMMM yyyy", "MMM d, yyyy", "MMMM d, yyyy"),
)
CLOCKS = ("HH:mm:ss", "HH:mm", "H:mm", "H:mm:ss", "HH:mm:ss.SSS", "h:mm a", "hh:mm a", "h:mm:ss a", "hh:mm:ss a")
SIGN = re.compile(r"^\s*([^\d\s.,+\-']{1,3})?\s*[+-]?[\d.,'\u2019 \u00a0\u202f]+\s*([^\d\s.,+\-']{1,3})?\s*$")
CODE = re.compile(r"\s*[^\W\d_]+\d")
"""A code such as P7, letters and then a digit: its number alone would be another code."""
EPOCHS = (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
EARLIEST, LATEST = 946_684_800, 2_208_988_800
"""The years 2000 to 2039, in seconds since 1970: an integer in this range may be a time."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a property of a contract says about its values, and what is to be said about it."""

    definition: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A form and the values that have it."""

    form: Form
    matching: int
    nulls: tuple[str, ...] = ()
    """Texts among the values that stand for null."""
    other: str = ""
    """A value that does not have the form."""


def column_of_form(definition: dict[str, Any]) -> Column:
    """Return the column of a property. Raises ContractError for one that is not valid."""
    return columns_of(Place("draft"), [{"name": "value", **definition}])[0]


def matches_of(form: Form, values: Sequence[object], nulls: Sequence[str] = ()) -> Match:
    """Return how many of the values have the form."""
    column = column_of_form(form.definition)
    matching, other, used = 0, "", dict[str, None]()
    for value in values:
        if value in nulls and isinstance(value, str):
            used[value] = None
            matching += 1
            continue
        try:
            validate_value(column, value)
            matching += 1
        except NotClean:
            other = other or str(value)
    return Match(form, matching, tuple(used), other)


def best_match(name: str, values: Sequence[object], *, in_csv: bool, tolerant: bool) -> Match:
    """Return the most special form that all values have, or nearly all if `tolerant`; else STRING or the best one."""
    nulls = NULLS if in_csv else ()
    special: Match | None = None
    near: Match | None = None
    forms = list(_forms(name, [value for value in values if value not in nulls or not isinstance(value, str)], in_csv))
    for form in forms:
        if matches_of(form, values[:FIRST], nulls).matching < min(FIRST, len(values)) * (0.9 if tolerant else 1):
            continue
        match = matches_of(form, values, nulls)
        if match.matching == len(values):
            return match
        bad = len(values) - match.matching
        if match.matching >= MIN_NEAR * len(values) and (near is None or match.matching > near.matching):
            near = match
        if tolerant and len(values) >= MIN_TOLERANT and bad <= MAX_BAD_SHARE * len(values) and special is None:
            special = match
    if special:
        return special
    text = matches_of(Form({"logicalType": "string"}), values)
    if text.matching == len(values) or not forms:
        return replace(text, form=Form(text.form.definition, _about_nearly_all(near, len(values)))) if near else text
    return max([text, *(matches_of(form, values, nulls) for form in forms)], key=lambda match: match.matching)


def _about_nearly_all(match: Match, count: int) -> tuple[str, ...]:
    kind = match.form.definition["logicalType"]
    if kind == "string":
        return ()
    others = f"the others would be dead letters, such as {match.other[:60]!r}"
    return (f"check: {match.matching:,} of {count:,} values have the logicalType {kind}; {others}",)


def _forms(name: str, values: Sequence[object], in_csv: bool) -> Iterator[Form]:
    """Yield the forms that the values may have, the most special first."""
    texts = [str(value) for value in values if isinstance(value, str)]
    head = texts[:FIRST]
    if any(isinstance(value, bool) for value in values) or {text.lower() for text in head} <= {"true", "false"}:
        yield Form({"logicalType": "boolean"})
    words = {text.lower() for text in texts[:1000]}
    if len(words) == 2 and any(words <= set(pair) for pair in (("yes", "no"), ("y", "n"), ("t", "f"))):
        yield Form({"logicalType": "boolean"})
    if not texts:
        return
    if words <= {"0", "1"}:
        flag = bool(FLAG_WORDS.search(name))
        if flag and in_csv:
            yield Form({"logicalType": "boolean"}, ("0 and 1 are read as false and true",))
        other = "boolean reads them too" if in_csv else "boolean does not read JSON numbers"
        yield Form(
            {"logicalType": "integer"}, (f"check: only 0 and 1; logicalType: {other}",) if len(words) == 2 else ()
        )
    yield from _numbers(name, texts)
    if any(isinstance(value, Number) for value in values):
        return
    yield from _times(texts)
    yield from _formatted_numbers(texts)
    if all("@" in text for text in head):
        yield Form({"logicalType": "string", "logicalTypeOptions": {"format": "email"}})


def _numbers(name: str, texts: Sequence[str]) -> Iterator[Form]:
    plain = [text for text in texts if PLAIN_NUMBER.fullmatch(text)]
    if len(plain) < len(texts) * 0.9 and not all(EXPONENT.fullmatch(text) for text in texts[:FIRST]):
        return
    if any(re.fullmatch(r"-?0[0-9]+", text) for text in texts):
        return  # an identifier: as a number it would lose its zeros
    integers = all("." not in text for text in plain)
    if integers and TIME_WORDS.search(name):
        yield from _epochs([int(text) for text in plain])
        if all(re.fullmatch(r"(19|20)[0-9]{6}", text) for text in texts[:FIRST]):
            yield Form({"logicalType": "date", "logicalTypeOptions": {"format": "yyyyMMdd"}})
    if integers:
        yield Form({"logicalType": "integer"}, tuple(_about_integers(name, plain)))
    decimals = max((len(text.partition(".")[2]) for text in plain), default=0)
    whole = max((len(text.partition(".")[0]) for text in plain), default=0)
    with_exponent = any(EXPONENT.fullmatch(text) and not PLAIN_NUMBER.fullmatch(text) for text in texts)
    if not with_exponent and decimals <= 9 and whole <= 29:
        yield Form({"logicalType": "number"})
    yield Form(
        {"logicalType": "number", "physicalType": "FLOAT64"},
        (f"check: up to {decimals} decimals; FLOAT64 is not exact, physicalType: BIGNUMERIC is",),
    )


def _about_integers(name: str, texts: Sequence[str]) -> Iterator[str]:
    numbers = [int(text) for text in texts]
    unit = next(
        (unit for unit, factor in EPOCHS if all(EARLIEST * factor <= each < LATEST * factor for each in numbers)), ""
    )
    if unit and not TIME_WORDS.search(name):
        yield f"check: or a time: logicalType: timestamp with customProperties epoch: {unit}"


def _epochs(numbers: Sequence[int]) -> Iterator[Form]:
    for unit, factor in EPOCHS:
        if numbers and all(EARLIEST * factor <= number < LATEST * factor for number in numbers):
            properties = [{"property": "epoch", "value": unit}]
            yield Form({"logicalType": "timestamp", "customProperties": properties}, (f"numbers of {unit} since 1970",))


def _times(texts: Sequence[str]) -> Iterator[Form]:
    without_zone = not any(ZONE.fullmatch(text) for text in texts[:FIRST])
    remarks = ("check: no zone is written: read as UTC; or defaultTimezone: Europe/Berlin, or physicalType: DATETIME",)
    yield Form({"logicalType": "date"})
    yield Form({"logicalType": "timestamp"}, remarks if without_zone else ())
    yield Form({"logicalType": "time"})
    head = texts[:FIRST]
    found: dict[str, list[str]] = {"date": [], "timestamp": []}
    for day in DAYS:
        for pattern in (day, *(f"{day}{gap}{clock}" for gap in (" ", ", ") for clock in CLOCKS)):
            if all(DateFormat(pattern).iso(text) for text in head[:3]):
                form = _dated(pattern)
                if matches_of(form, texts).matching >= len(texts) * (1 - MAX_BAD_SHARE):
                    found[form.definition["logicalType"]].append(pattern)
    for kind, patterns in found.items():
        if not patterns:
            continue
        orders = {
            tuple(part for part in re.findall("[dMy]", re.sub(r"([dMy])\1*", r"\1", pattern))) for pattern in patterns
        }
        if len(orders) > 1:
            choices = " or ".join(f"format: {pattern}" for pattern in _one_an_order(patterns))
            yield Form(
                {"logicalType": "string"}, (f"check: every value fits {choices}; write logicalType: {kind} with one",)
            )
        else:
            yield _dated(patterns[0])


def _one_an_order(patterns: Sequence[str]) -> list[str]:
    chosen = {re.sub(r"([dMy])\1*", r"\1", pattern): pattern for pattern in reversed(patterns)}
    return sorted(chosen.values())


def _dated(pattern: str) -> Form:
    kind = "timestamp" if re.search("[Hh]", pattern) else "date"
    remarks = (
        ("check: no zone is written: read as UTC; or defaultTimezone: Europe/Berlin",) if kind == "timestamp" else ()
    )
    return Form({"logicalType": kind, "logicalTypeOptions": {"format": pattern}}, remarks)


def _formatted_numbers(texts: Sequence[str]) -> Iterator[Form]:
    """Yield numbers with a decimal comma, groups or signs; STRING with the choices if they can be read in two ways."""
    head = [match for text in texts[:FIRST] if (match := SIGN.match(text))]
    if len(head) < min(FIRST, len(texts)) * 0.9 or not any(char.isdigit() for text in texts[:FIRST] for char in text):
        return
    if any(re.match(r"0[0-9]", re.sub(r"\D*", "", text, count=1)) and "," not in text for text in texts):
        return
    signs = sorted({sign for match in head for sign in match.groups() if sign})[:5]
    letters = [sign for sign in signs if sign.isalpha()]
    if any(not sign.isupper() for sign in letters) or len(letters) > 1:
        return  # words, or several units, which a number would lose
    if any(CODE.match(text) for text in texts[:FIRST]):
        return
    fitting: list[Form] = []
    for decimal, group in (
        (".", ""),
        (",", ""),
        (".", ","),
        (",", "."),
        (",", " "),
        (".", " "),
        (".", "'"),
        (",", "\u00a0"),
    ):
        value: dict[str, Any] = {"decimal": decimal}
        value |= {"group": group} if group else {}
        value |= {"strip": signs} if signs else {}
        form = Form({"logicalType": "number", "customProperties": [{"property": "numberFormat", "value": value}]})
        if matches_of(form, texts).matching >= len(texts) * (1 - MAX_BAD_SHARE):
            fitting.append(form)
    if not fitting:
        return
    thousands = all(
        re.search(r"\d[.,]\d{3}\D*$", text) and len(re.findall("[.,]", text)) == 1
        for text in texts
        if re.search("[.,]", text)
    )
    if thousands and any(re.search("[.,]", text) for text in texts) and len(fitting) > 1:
        yield Form(
            {"logicalType": "string"},
            ("check: 1,234 may be 1234 or 1.234; write logicalType: number with numberFormat",),
        )
        return
    yield fitting[0]
