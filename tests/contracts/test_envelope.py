"""Key, time and headers of a record are returned unchanged."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from contracts.decoding.envelope import ENVELOPE, envelope_attributes, envelope_of

BYTES = st.none() | st.binary(max_size=8) | st.text(max_size=8).map(str.encode)
HEADERS = st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=3)


def as_bytes(kept: object) -> bytes | None:
    """What a kept key or header was."""
    if kept is None:
        return None
    return base64.b64decode(kept["base64"]) if isinstance(kept, dict) else str(kept).encode()


@given(st.lists(st.tuples(BYTES, st.integers(-1, 2**53), HEADERS), max_size=5))
def test_all_of_it_comes_back(rows: list[tuple[bytes | None, int, list[tuple[str, bytes | None]]]]) -> None:
    pairs_of = {number: pairs for number, (_, _, pairs) in enumerate(rows) if pairs}
    frame = envelope_of([key for key, _, _ in rows], [at for _, at, _ in rows], pairs_of)
    assert frame.schema == ENVELOPE
    for (key, at, headers), row in zip(rows, frame.iter_rows(), strict=True):
        kept = json.loads(json.dumps(envelope_attributes(row)))
        assert kept["timestamp"] == at
        assert as_bytes(kept.get("key")) == key
        assert ("key" in kept) == (key is not None)
        assert [(name, as_bytes(value)) for name, value in kept.get("headers", [])] == headers
