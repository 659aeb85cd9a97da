r"""Patterns mean what they mean in ECMA-262, in time that grows with the text and not with the pattern's nesting."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.columns import rule_conditions
from contracts.decoding.values import check
from contracts.patterns import EMAIL, MAX_MATCHED_BYTES, matches, translated
from contracts.refusal import NotClean
from contracts.table import Column, Kind

FOUND = [
    ("^a$", ["a"], ["a\n", "ba"]),
    (r"a\$", ["a$"], ["a"]),
    ("[$]", ["$"], [""]),
    (r"[\]$]$", ["]", "a$"], ["$a"]),
    (r"^\w+\\$", ["ab1_\\"], ["é\\", "a\\b"]),
    ("ACC[0-9]{8}", ["xACC12345678"], ["ACC1234567"]),
    (r"^\d$", ["5"], ["٣", "a"]),
    (r"^\D\W\S$", ["a-b", "a b"], ["1-b", "aab", "a- "]),
    (r"^\s$", [" ", "\u00a0", "\ufeff", "\u2028", "\n"], ["\x1c", "\u0085", "a"]),
    (r"\bb\b", ["a b c", "éb"], ["abc"]),
    ("^.$", ["a", "é", "\U0001f600", "\x0b"], ["\n", "\r", "\u2028", ""]),
    (r"^[\w-]+$", ["a-b"], ["a.b"]),
    (r"^[\w-.]+$", ["a-b.c"], ["a,c"]),
    (r"^[a&&b]+$", ["&b"], ["c"]),
    ("^[[a]+$", ["[a"], ["]"]),
    (r"^[^\W_]+$", ["a1"], ["_", "-"]),
    (r"^[+--a]+$", ["+,-a"], ["b", "."]),
    (r"^[---]$", ["-"], ["a"]),
    (r"^[~^]+$", ["^~"], ["a"]),
    (r"^[+*?{}().|]+$", ["+*?{}().|"], ["a"]),
    (r"^[b\b]$", ["\b", "b"], ["\\"]),
    (r"^\u0041\x42\cA\0\v$", ["AB\x01\x00\x0b"], ["AB"]),
    (r"^\ud83d\ude00$", ["\U0001f600"], ["\ud83d".encode("utf-8", "replace").decode()]),
    (r"^[\u{1f600}-\u{1f64f}]$", ["\U0001f60a"], ["a"]),
    (r"^(?<year>\d{4})(?:-\d{2})?$", ["2024", "2024-01"], ["24"]),
    (r"^a{2,}?b*?$", ["aabb"], ["ab"]),
    (r"^\/\-\.\+$", ["/-.+"], ["/-a+"]),
    ("a]b}", ["a]b}"], ["ab"]),
    ("^(a|b)*$", ["abba", ""], ["c"]),
]


@pytest.mark.parametrize(("pattern", "found", "others"), FOUND)
def test_patterns_mean_what_they_mean_in_ecmascript(pattern: str, found: list[str], others: list[str]) -> None:
    read_as = translated(pattern)
    assert [text for text in [*found, *others] if matches(read_as, text)] == found


REFUSED = [
    (r"(?=a)", "lookaround"),
    (r"a(?!b)", "lookaround"),
    (r"(?<=a)b", "lookaround"),
    (r"(?<!a)b", "lookaround"),
    (r"(a)\1", "backreference"),
    (r"(?<n>a)\k<n>", "backreference"),
    (r"(?i)a", "group that ECMA-262 does not have"),
    (r"(?i:a)", "group that ECMA-262 does not have"),
    (r"\Aa", "means nothing in ECMA-262"),
    (r"\p{L}", r"\p"),
    (r"a\Bb", r"\B"),
    ("a++", "quantifier after a quantifier"),
    ("a{2}{3}", "quantifier after a quantifier"),
    ("*a", "repetition"),
    ("(a", "not closed"),
    ("a)", "not opened"),
    ("[a", "not closed"),
    ("[]", "empty class"),
    ("[^]", "empty class"),
    ("[b-a]", "range"),
    ("\\", "has \\"),
    (r"\ud800", "surrogate"),
    ("a{1001}{1}", "quantifier"),
    ("(a{1000}){1000}", "repeats more than"),
    ("[a--c]", "cannot be read: invalid character class range"),
    ("(?:[a-z]{1,1000}){1,9}!", "repeats more than"),
    ("a{99999999999}", "repeats more than"),
    ("a" * 1001, "longer than"),
]


@pytest.mark.parametrize(("pattern", "why"), REFUSED)
def test_what_is_not_supported_is_said(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        translated(pattern)


@given(
    st.text(alphabet="ab[]^-\\dwsDWS.*+?{}(),|&~12$/u", max_size=12),
    st.lists(st.text(alphabet="ab-1.&~[] \n", max_size=4)),
)
@settings(deadline=None, max_examples=400)
def test_columns_and_single_values_match_alike_and_nothing_else_is_raised(pattern: str, texts: list[str]) -> None:
    try:
        read_as = translated(pattern)
    except ValueError:
        return
    column = Column("x", Kind.STRING, pattern=read_as)
    held = pl.DataFrame({"x": texts}, schema={"x": pl.String}).select(
        pl.all_horizontal(*rule_conditions(column)).alias("x")
    )["x"]
    for text, kept in zip(texts, held, strict=True):
        assert kept == _keeps(column, text)


def _keeps(column: Column, text: str) -> bool:
    try:
        check(column, text, "x")
    except NotClean:
        return False
    return True


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*$", r"^(.*a){20}$", r"([a-z]{1,40}){1,40}!", r"(\w+\s?)*$"])
def test_no_pattern_needs_more_than_one_pass(pattern: str) -> None:
    """An engine that backtracks would not come to an end here."""
    column = Column("x", Kind.STRING, pattern=translated(pattern))
    for text in ("a" * (MAX_MATCHED_BYTES - 1) + "!", "a" * 9_000_000 + "!"):
        (kept,) = pl.DataFrame({"x": [text]}).select(pl.all_horizontal(*rule_conditions(column)).alias("x"))["x"]
        assert kept == _keeps(column, text)
    assert not _keeps(column, "a" * 9_000_000)


def test_an_e_mail_of_megabytes_needs_one_pass() -> None:
    assert matches(EMAIL, "a@" + "a." * 4_000_000 + "a")
    assert not matches(EMAIL, "a@" + "a." * 4_000_000)
