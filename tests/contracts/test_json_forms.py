"""JSON as it comes: which form the first bytes of a file have, and the records of each form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.json_array import JsonDocuments
from contracts.decoding.json_forms import HEAD_BYTES, JsonForm, read_head, records_inside
from contracts.decoding.json_records import CommaLines
from tests.contracts.in_pieces import in_pieces
from tests.contracts.test_records import CUTS, JSON

LINES, COMMAS, DOCUMENTS = JsonForm.LINES, JsonForm.COMMA_LINES, JsonForm.DOCUMENTS
PRETTY = json.dumps({"id": 1, "in": {"x": [1, {"y": "}{"}]}}, indent=2)

FORMS = [
    (b"", LINES),
    (b'{"a":1}', LINES),
    (b'\r\n {"a":1}\r\n{"a":2}', LINES),
    (b'{"a":1} trailing\n{"a":2}', LINES),
    (b'{"a":\n{"a":2}\n{"a":3}', LINES),
    (b'{"a":"lost}\n{"a":2}', LINES),
    (b'garbage\n{"a":2}', LINES),
    (b"[garbage\n[1]", LINES),
    (b"1\n2\n", LINES),
    (b"{" * HEAD_BYTES, LINES),
    (b'[{"a":' * 9000, LINES),
    (b'{"a":1},\n{"a":2}', COMMAS),
    (b'{"a":1} ,\r\n{"a":2},', COMMAS),
    (b'{"a":1}{"a":2}', DOCUMENTS),
    (b'{"a":1}, {"a":2}', DOCUMENTS),
    (b'{"a":1},{"a":2},\n{"a":3},{"a":4},', DOCUMENTS),
    (b'[{"a":1}]\n[{"a":2}]\n', DOCUMENTS),
    (b'\x1e{"a":1}\n\x1e{"a":2}\n', DOCUMENTS),
    (b'{"a":1}\x1e{"a":2}', DOCUMENTS),
    (PRETTY.encode(), DOCUMENTS),
    (b'{ "a":1,\n "b":2 }', DOCUMENTS),
    (b"[\n1,\n2]", DOCUMENTS),
]


@pytest.mark.parametrize(("head", "form"), FORMS, ids=[str(head[:20]) for head, _ in FORMS])
def test_the_form_of_a_file(head: bytes, form: JsonForm) -> None:
    assert read_head(head, whole=True).form is form


def test_a_document_that_is_longer_than_the_head() -> None:
    items = [{"id": number, "text": 'a "quote" and a }' * 50} for number in range(500)]
    long: dict[str, object] = {"meta": {"count": 2}, "data": {"items": items}}
    for text, form in (
        (json.dumps(long), LINES),
        (json.dumps(long, indent=1), DOCUMENTS),
        (json.dumps(items), DOCUMENTS),
        (json.dumps({"text": "x" * HEAD_BYTES}), LINES),
    ):
        for end in (HEAD_BYTES, 1000, 1001, 1017, 1050, 500):
            head = read_head(text.encode()[:end], whole=False)
            assert head.form is form
            if "items" in text[:end]:
                assert records_inside(head.first, {"ID"}) == ("data", "items")
                assert records_inside(head.first, {"key"}) == records_inside(head.first, {"meta", "id"}) == ()


def splitting(data: bytes, cuts: list[int], limit: int = 1000) -> tuple[list[bytes], list[tuple[int, bytes, int]]]:
    splitter = JsonDocuments(0, limit)
    records, refusals = in_pieces(splitter, data, cuts)
    assert all(data[at : at + len(raw)] == raw for at, raw in records)
    return [raw for _, raw in sorted(records)], sorted(refusals)


CLEAN = [
    (PRETTY + "\n" + PRETTY, [PRETTY, PRETTY]),
    ('{"a":1}{"a":2} {"a":3}', ['{"a":1}', '{"a":2}', '{"a":3}']),
    ('{"a":1},\n{"a":[2,{}]},\n', ['{"a":1}', '{"a":[2,{}]}']),
    ('[{"a":1}]\n[{"a":2},{"a":[{}]}]\n[]', ['{"a":1}', '{"a":2}', '{"a":[{}]}']),
    ('\x1e{"a":1}\n\x1e\x1e[{"a":2}]\n', ['{"a":1}', '{"a":2}']),
    ('[[1,2],[3]]{"a":1}', ["[1,2]", "[3]", '{"a":1}']),
]
BROKEN = [
    ('{"a":1} x {"a":2}]\n{"a":3}', ['{"a":1}', "x", '{"a":2}', "]", '{"a":3}']),
    ('{"a":{"b":1}\n{"a":2}\n{"a":3}', ['{"a":{"b":1}', '{"a":2}', '{"a":3}']),
    ('[{"a":1}\n[{"a":2}]\n[{"a":3}', ['{"a":1}', '{"a":2}', '{"a":3}']),
    ('{"a":"lost}\n{"a":2}\n{"a":3}', ['{"a":"lost}', '{"a":2}', '{"a":3}']),
    ('\x1e{"a":{"b":1\x1e{"a":2}\x1e{"a"', ['{"a":{"b":1', '{"a":2}', '{"a"']),
    ('[{"a":1},\x1e{"a":2},{"a":3}', ['{"a":1}', '{"a":2}', '{"a":3}']),
    ('[{"a":1} {"a":2},{"a":3}]', ['{"a":1} {"a":2}', '{"a":3}']),
]


@pytest.mark.parametrize(("text", "expected"), [*CLEAN, *BROKEN], ids=[text[:20] for text, _ in [*CLEAN, *BROKEN]])
def test_documents_are_records(text: str, expected: list[str]) -> None:
    data = text.encode()
    for step in (1, 3, len(data)):
        assert splitting(data, list(range(0, len(data), step))) == ([each.encode() for each in expected], [])


TOKENS = st.lists(
    st.sampled_from([*"[]{},:", '"', "\\", "\n", " ", "\x1e", "x" * 12, "1", '"a,]}"', '{"k":[1]}', '{"k":']),
    max_size=25,
)


@given(TOKENS, CUTS)
@settings(deadline=None)
def test_documents_are_the_same_in_any_pieces(parts: list[str], cuts: list[int]) -> None:
    data = "".join(parts).encode()
    assert splitting(data, cuts, 10) == splitting(data, [], 10)


@given(TOKENS)
@settings(deadline=None)
def test_no_byte_of_broken_documents_is_lost(parts: list[str]) -> None:
    """What is in no record is white space, or separates records; any closing bracket closes an array."""
    data = "".join(parts).encode()
    records, _ = splitting(data, [])
    rest = data
    for record in records:
        rest = rest.replace(record, b"", 1)
    assert not rest.strip(b"[]},\x1e \n")


@given(
    st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=6),
    st.sampled_from(["", " ", "\n", ",\n", "\x1e"]),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
    CUTS,
)
@settings(deadline=None)
def test_documents_in_any_layout(
    values: list[Any], between: str, indent: int | None, arrays: bool, cuts: list[int]
) -> None:
    texts = [json.dumps([value] if arrays else value, indent=indent) for value in values]
    records, refusals = splitting(between.join(texts).encode(), cuts)
    assert [json.loads(record) for record in records] == values
    assert not refusals


def test_a_document_over_the_limit_is_one_refusal() -> None:
    data = b'{"a":1} {"a":[' + b"1," * 3000 + b'1]} {"a":2} ' + b"x" * 5000 + b' {"a":3}'
    for step in (1, 7, 20_000):
        records, refusals = splitting(data, list(range(0, len(data), step)), 100)
        assert records == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
        assert [(at, size) for at, _, size in refusals] == [(8, 6009), (6026, 5000)]


def test_lines_with_commas() -> None:
    records, refusals = in_pieces(
        CommaLines(0, 100), b'{"a":1},\r\n{"a":2} , \n{"a":3}\nx,,\n' + b"y" * 101 + b",", [3]
    )
    assert [raw for _, raw in records] == [b'{"a":1}', b'{"a":2} ', b'{"a":3}', b"x,"]
    assert len(refusals) == 1
