"""Records inside JSON documents: the elements of the array at a path, whatever the pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decoding.json_path import JsonPath
from contracts.decoding.records import splits
from contracts.refusal import NotClean


def records(data: bytes, path: str = "data.items", size: int = 1 << 20, limit: int = 1_000) -> list[bytes]:
    """The records of the data in pieces of `size` bytes; each is found at its position."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    found: list[bytes] = []
    for split in splits(pieces, JsonPath(0, limit, path.split("."))):
        assert split.refusals == []
        assert [
            data[at : at + len(raw)] for at, raw in zip(split.positions, split.records, strict=True)
        ] == split.records
        found += split.records
    return found


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('a"\\{}[],: é', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "items", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(VALUES, max_size=4), min_size=1, max_size=3),
    VALUES,
    VALUES,
    st.integers(1, 30),
    st.sampled_from([None, 2]),
)
def test_elements_in_any_pieces(pages: list[list[Any]], before: Any, after: Any, size: int, indent: int | None) -> None:
    documents = [{"x": before, "data": {"y": after, "items": page, "z": before}, "w": after} for page in pages]
    data = "\n".join(json.dumps(document, indent=indent) for document in documents).encode()
    assert [json.loads(raw) for raw in records(data, size=size)] == [item for page in pages for item in page]


def test_one_level_and_a_list_that_is_null_or_not_there() -> None:
    assert records(b'{"data":[1,{"a":2}]}', "data") == [b"1", b'{"a":2}']
    assert records(b'{"data":null}{"data":[3]}{"other":[4]}', "data") == [b"3"]
    assert records(b'{"a":{"data":[1]},"b":[{"data":[2]}],"data":[3]}', "data") == [b"3"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"other":[1]}', "it has no array at data"),
        (b"", "it has no array at data"),
        (b"[1,2]", "it has no array at data"),
        (b'{"data":{"a":1}}', "the value at data is not an array"),
        (b'{"data":"text"}', "the value at data is not an array"),
        (b'{"a":1', "is not closed"),
        (b'{"data":[1]', "is not closed"),
        (b'{"data":[1]]', "closes nothing"),
        (b'{"a":"' + b"x" * 2_000, "is too long or not closed"),
    ],
)
def test_documents_that_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(NotClean, match=message):
        records(data, "data")


def test_memory_is_that_of_one_element() -> None:
    """A document of 20 MB in small pieces."""
    splitter = JsonPath(0, 1_000, ["data"])
    splitter.feed(b'{"skipped":[' + b"1," * 1_000 + b'0],"data":[')
    count = 0
    for _ in range(200):
        count += len(splitter.feed(b'{"a":"xxxxxxxx"},' * 6_000).records)
        assert splitter._array is not None
        assert len(splitter._array._buffer) < 200_000
    count += len(splitter.feed(b'{"a":1}]}').records)
    splitter.end()
    assert count == 1_200_001
