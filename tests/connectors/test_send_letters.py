"""A dead letter becomes the record that it was: the key and the headers byte by byte, or it is not sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sinks.send_letters import as_record, why_not_sent
from contracts.decoding.envelope import envelope_attributes, envelope_of

HEADERS = st.lists(st.tuples(st.sampled_from(["", "a", "retry_count"]), st.none() | st.binary(max_size=4)), max_size=4)


@given(st.none() | st.binary(max_size=4), HEADERS, st.integers(1, 9))
def test_key_and_headers_are_the_original(key: bytes | None, headers: list[tuple[str, bytes | None]], n: int) -> None:
    envelope = envelope_of([key], [0], {0: headers} if headers else {})
    stored = json.loads(json.dumps(envelope_attributes(envelope.row(0))))
    kept = [(name, value) for name, value in headers if name != "retry_count"]
    assert as_record(stored, n) == (key, [*kept, ("retry_count", b"%d" % n)])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({}, ""),
        ({"truncated": True}, "only its beginning is stored"),
        ({"attributes": '{"tombstone": true}'}, "it has no value, and whether its key has come again nobody knows"),
        ({"attributes": '{"key_truncated": true}'}, "its key or its headers are stored in part"),
        ({"attributes": '{"headers_truncated": true}'}, "its key or its headers are stored in part"),
    ],
)
def test_what_is_not_whole_is_not_sent(row: dict[str, Any], why: str) -> None:
    assert why_not_sent({"truncated": False, "attributes": "{}", **row}) == why
