"""Splitters: the same records and positions whatever the pieces, and exactly the bytes of the file."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.json_array import JsonArray
from contracts.decoding.json_records import JsonLines
from contracts.decoding.records import Splitter
from tests.contracts.in_pieces import Seen, in_pieces


def split(make: Callable[[], Splitter], data: bytes, cuts: list[int]) -> Seen:
    """What a splitter makes of `data` in pieces that end at `cuts`."""
    records, refusals = in_pieces(make(), data, cuts)
    return sorted(records), sorted(refusals)


def array(limit: int = 1000) -> JsonArray:
    return JsonArray(0, limit)


CUTS = st.lists(st.integers(0, 60), max_size=30)
LINES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b" ", b"x" * 12, b'{"k":1}']), max_size=25)
TOKENS = st.lists(
    st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"\n", b" ", b"x" * 12, b"1", b'"a,]}"', b'{"k":[1]}']),
    max_size=25,
)


@given(LINES, CUTS)
@settings(deadline=None)
def test_lines_are_the_same_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    assert split(lambda: JsonLines(0, 10), data, cuts) == split(lambda: JsonLines(0, 10), data, [])


@given(TOKENS, CUTS)
@settings(deadline=None)
def test_an_array_is_the_same_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"[" + b"".join(parts)
    assert split(lambda: array(10), data, cuts) == split(lambda: array(10), data, [])


@given(LINES, CUTS)
@settings(deadline=None)
def test_a_line_is_the_bytes_at_its_position(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    records, refusals = split(lambda: JsonLines(0, 10), data, cuts)
    for position, raw in [*records, *((at, head) for at, head, _ in refusals)]:
        assert data[position : position + len(raw)] == raw
        assert b"\n" not in raw
    assert [raw for _, raw in sorted([*records, *((at, head) for at, head, _ in refusals)])] == [
        line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip()
    ]


@given(TOKENS, CUTS)
@settings(deadline=None)
def test_an_element_is_the_bytes_at_its_position(parts: list[bytes], cuts: list[int]) -> None:
    data = b"[" + b"".join(parts)
    records, refusals = split(lambda: array(10), data, cuts)
    for position, raw in [*records, *((at, head) for at, head, _ in refusals)]:
        assert data[position : position + len(raw)] == raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a,[]{}"\\\n é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1]), CUTS)
@settings(deadline=None)
def test_an_array_gives_its_elements(values: list[object], indent: int | None, cuts: list[int]) -> None:
    data = json.dumps(values, indent=indent).encode()
    records, refusals = split(array, data, cuts)
    assert [json.loads(raw) for _, raw in records] == values
    assert not refusals


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'[{"a":1},{"b":', [b'{"a":1}', b'{"b":']),
        (b'[{"a":1}]\n', [b'{"a":1}']),
        (b'[{"a":1}] x, y\n', [b'{"a":1}', b"x, y"]),
        (b"[]", []),
        (b'[{"a":"lost},\n{"b":2}]', [b'{"a":"lost}', b'{"b":2}']),
    ],
)
def test_ends_of_an_array(data: bytes, expected: list[bytes]) -> None:
    records, _ = split(array, data, list(range(len(data))))
    assert [raw for _, raw in records] == expected


def test_an_overlong_line_is_one_refusal_and_its_neighbours_are_read() -> None:
    data = b"a\n" + b"x" * 5000 + b"\r\nb"
    for step in (1, 7, 6000):
        records, refusals = split(lambda: JsonLines(0, 100), data, list(range(0, len(data), step)))
        assert records == [(0, b"a"), (5004, b"b")]
        assert [(at, size) for at, _, size in refusals] == [(2, 5000)]


def test_an_overlong_element_is_one_refusal_and_its_neighbours_are_read() -> None:
    data = b'[1, {"x": [' + b"1," * 3000 + b"1]} ,2]"
    for step in (1, 7, 9000):
        records, refusals = split(lambda: array(100), data, list(range(0, len(data), step)))
        assert [raw for _, raw in records] == [b"1", b"2"]
        assert [(at, size) for at, _, size in refusals] == [(4, 6010)]


ENDLESS = {"letters": b"a", "backslashes": b"\\", "escaped quotes": b'\\"', "quotes": b'"\n', "brackets": b"[{"}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("end", [b"", b"\n", b'"]'])
def test_a_string_without_end_costs_linear_time_and_bounded_memory(unit: bytes, end: bytes) -> None:
    """Quadratic time would take minutes here; the buffer is measured for memory."""
    limit, piece = 100_000, unit * (20_000 // len(unit))
    splitter = array(limit)
    splits = [splitter.feed(b'[{"a":"')]
    held = 0
    for _ in range(200):
        splits.append(splitter.feed(piece))
        held = max(held, len(splitter._buffer))
    splits += [splitter.feed(end), splitter.end()]
    assert held <= 2 * limit + 2 * len(piece)
    refusals = [refusal for part in splits for refusal in part.refusals]
    assert [(refusal.position, len(refusal.raw) > limit) for refusal in refusals] == [(1, True)]


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_lost_quote_is_one_up_to_the_limit(cut: int) -> None:
    data = b'[{"a":"lost},\n{"b":2},{"c":"' + b"x,]" * 100 + b'\n},{"d":4}]'
    records, refusals = split(lambda: array(200), data, list(range(0, len(data), cut)))
    assert [raw for _, raw in records] == [b'{"a":"lost}', b'{"b":2}', b'{"d":4}']
    assert [at for at, _, _ in refusals] == [data.index(b'{"c"')]


@given(
    st.lists(st.sampled_from([b"\n", b" \n", b"\r\n", b"a\n", b" b\r\n", b"x" * 12 + b"\n", b" "]), max_size=40), CUTS
)
@settings(deadline=None)
def test_blank_lines_are_skipped_however_many(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    assert split(lambda: JsonLines(0, 10), data, cuts) == split(lambda: JsonLines(0, 10), data, [])
    found = split(lambda: JsonLines(0, 10), data, [])
    assert sorted(raw for _, raw in found[0]) + sorted(raw for _, raw, _ in found[1]) == sorted(
        line.removesuffix(b"\r") for line in data.split(b"\n") if line.strip() and len(line.removesuffix(b"\r")) <= 10
    ) + sorted(line.removesuffix(b"\r") for line in data.split(b"\n") if len(line.removesuffix(b"\r")) > 10)


def test_blanks_before_an_element_are_no_part_of_it() -> None:
    blanks = b" \n" * 50_000
    splitter = array(1000)
    splits = [splitter.feed(part) for part in (b"[1,", blanks, blanks, b" 2 ", blanks, b",", blanks, b"3]")]
    splits.append(splitter.end())
    found = [pair for part in splits for pair in zip(part.positions, part.records, strict=True)]
    assert found == [(1, b"1"), (200_004, b"2"), (400_007, b"3")]
