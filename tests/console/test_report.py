"""What is shown to a person is text: no markup, and nothing that a terminal acts on."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from console.layout import cell
from console.printable import printable, printable_json
from console.report import print_lines, print_rows, print_summary, source_of

HOSTILE = {
    "[/x]": "[/x]",
    "[red]a[/red]": "[red]a[/red]",
    "[a, b]": "[a, b]",
    "[link=http://evil]c[/link] :warning:": "[link=http://evil]c[/link] :warning:",
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\d\x1b]8;;\x1b\\": r"\x1b]8;;http://evil\x1b\d\x1b]8;;\x1b" + "\\",
    "\x9b31m\x7f": r"\x9b31m\x7f",
    "a\r\nerror: forged\t": r"a\r\nerror: forged\t",
    "\u202ecod.exe\u2066": r"\u202ecod.exe\u2066",
    b"name\xff".decode(errors="surrogateescape"): r"name\udcff",
    "naïve 日本 🙂": "naïve 日本 🙂",
}


def shown(width: int = 200) -> tuple[io.StringIO, Console]:
    """A terminal with colours and links."""
    screen = io.StringIO()
    return screen, Console(file=screen, width=width, force_terminal=True, color_system=None)


@pytest.mark.parametrize(("text", "expected"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_hostile_text_is_shown_as_text(text: str, expected: str) -> None:
    assert printable(text) == expected
    screen, console = shown()
    counts = {"read": 1, "written": 1, "duplicate": 0, "dead_letter": 0, "dead_letter_by_code": {text: 1}}
    found: dict[str, Any] = {"run_id": text, "state": "done", "seconds": 1.0, "tables": {text: counts}, "why": text}
    print_summary(console, found)
    print_lines(console, [text])
    print_rows(console, text, [{text: text, "bytes": text.encode(errors="surrogateescape")}])
    said = screen.getvalue()
    assert said.count(expected) >= 8 - ("\udcff" in text)  # bytes that are not UTF-8 are shown by their value
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in said.replace("\n", ""))
    assert "forged" not in [line[:6] for line in said.splitlines()]


@given(st.text(st.characters(codec=None)))
def test_anything_is_one_line_without_control_characters(text: str) -> None:
    line = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line)
    assert printable(line) == line
    line.encode()


@given(st.dictionaries(st.text(), st.text() | st.none() | st.integers()))
def test_json_is_the_same_value_and_has_no_control_characters_but_line_breaks(value: dict[str, Any]) -> None:
    text = printable_json(value)
    assert json.loads(text) == value
    assert not any(unicodedata.category(character) == "Cc" for character in text.replace("\n", ""))


def test_records_of_many_columns_are_shown_one_below_the_other() -> None:
    screen, console = shown(80)
    rows = [{f"column_{n:02}": "x" * n + "[b]" for n in range(20)}, {f"column_{n:02}": None for n in range(20)}]
    print_rows(console, "wide", rows)
    lines = screen.getvalue().splitlines()
    assert lines[:3] == ["wide", "record 1 of 2", "  column_00  [b]"]
    assert lines[21] == "  column_19  " + "x" * 19 + "[b]"
    assert lines[22:24] == ["record 2 of 2", "  column_00"]
    assert len(lines) == 1 + 2 * 21


def test_a_value_that_is_longer_than_the_terminal_is_not_cut() -> None:
    screen, console = shown(80)
    print_rows(console, "", [{"a": "x" * 300, "b": 1, "c": "y" * 90}])
    lines = screen.getvalue().splitlines()
    assert lines == ["record 1 of 1", "  a  " + "x" * 300, "  b  1", "  c  " + "y" * 90]
    print_rows(console, "none", [])
    assert screen.getvalue().endswith("none\nno rows\n")


def test_lineage_columns_come_last() -> None:
    screen, console = shown(80)
    print_rows(console, "", [{"_run_id": "r", "_position": 7, "name": "n"}])
    assert screen.getvalue().splitlines()[0].split() == ["name", "_run_id", "_position"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1030935.690000000"), "1030935.69"),
        (Decimal("5.000000000"), "5"),
        (Decimal("100"), "100"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0E-9"), "0"),
        (Decimal("NaN"), "NaN"),
        (None, ""),
        (True, "true"),
        ({"id": "S-17", "price": Decimal("3.500")}, '{"id": "S-17", "price": "3.5"}'),
        (b"C000065,\xff", r"C000065,\xff"),
    ],
)
def test_a_value_is_shown_without_what_says_nothing(value: object, expected: str) -> None:
    assert cell(value) == expected


def test_numbers_are_aligned_at_the_right_and_wide_characters_take_two_cells() -> None:
    screen, console = shown(80)
    print_rows(console, "", [{"name": "日本", "n": 5}, {"name": "a", "n": 1_000}])
    assert screen.getvalue().splitlines() == ["name     n", "日本     5", "a     1000"]


def test_each_door_has_a_color() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system="standard")
    counts = {"read": 111, "written": 11, "duplicate": 11, "dead_letter": 89, "dead_letter_by_code": {}}
    tables = {"t": counts, "u": {**counts, "duplicate": 0}}
    print_summary(console, {"run_id": "r", "state": "failed", "seconds": 1, "tables": tables})
    _, _, first, second = screen.getvalue().splitlines()
    assert [first.count(f"\x1b[{color}m") for color in (32, 90, 33)] == [1, 1, 1]
    assert re.sub(r"\x1b\[\d*m", "", first).split() == ["t", "111", "11", "11", "89"]
    assert [second.count(f"\x1b[{color}m") for color in (32, 90, 33)] == [1, 0, 1]
    assert "\x1b[1;31mfailed" in screen.getvalue()


def test_a_summary_cuts_no_name() -> None:
    screen, console = shown(80)
    codes = {"invalid_encoding": 54, "malformed_json": 210, "wrong_type": 54}
    counts = {"read": 15806, "written": 15000, "duplicate": 380, "dead_letter": 426, "dead_letter_by_code": codes}
    print_summary(console, {"run_id": "r", "state": "done", "seconds": 1, "tables": {"user_events_streaming": counts}})
    assert "user_events_streaming" in screen.getvalue()
    assert "…" not in screen.getvalue()


@pytest.mark.parametrize(
    ("columns", "names", "said"),
    [
        (["station_id"], ["Station ID", "docks"], "if station_id is Station ID, write customProperties: [{property: s"),
        (["docks", "at"], ["dock count", "begun", "Docks No"], "if docks is Docks No, write"),
        (["user.id"], ["userId"], "if user.id is userId, write"),
        (["a"], ["***"], "name the field as the column's source in the contract"),
        (["a"], [], "name the field as the column's source in the contract"),
    ],
)
def test_a_missing_column_gets_the_nearest_name(columns: list[str], names: list[str], said: str) -> None:
    assert source_of(columns, names).startswith(said)


def test_columns_that_files_lack_or_have_in_another_case() -> None:
    screen, console = shown(300)
    missing = {"columns": ["v"], "names": ["V", "W", "id", "w"], "in_other_case": {"w": "gs://b/t_1.json"}}
    counts = {"read": 3, "written": 3, "duplicate": 0, "dead_letter": 0, "dead_letter_by_code": {}}
    tables = {"t": {**counts, "missing_columns": missing}}
    print_summary(console, {"run_id": "r", "state": "done", "seconds": 1, "tables": tables})
    assert "no file of t has the column v; the files have V, W, id, w: if v is V, write" in screen.getvalue()
    assert (
        "the column w of t is null in the rows of t_1.json, whose records have the key in another case:"
        " rename it there, or if w is W, write customProperties: [{property: source, value: W}]"
    ) in screen.getvalue()
