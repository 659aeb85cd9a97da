"""`produce --dirty` keeps its word: the manifest is what an independent reading of the records finds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import UsageError
from sample_data.dirty_stream import MAGIC, DirtyStream, Keyed
from sample_data.keys import keyed
from sample_data.shop import TABLES, Sizes
from tests.oracle import expected

EVENTS = next(table for table in TABLES if table.name == "user_events")


def clean(count: int) -> list[Keyed]:
    """That many clean events, as `produce` reads them."""
    rows = EVENTS.rows(Random(1), Sizes(customers=20, products=10, transactions=0, user_events=count))
    return list(keyed(msgspec.json.encode(next(rows)) for _ in range(count)))


def sent(share: float, count: int, seed: int = 1) -> tuple[dict[str, object], list[Keyed]]:
    """The manifest, and what was sent."""
    stream = DirtyStream(share, seed)
    records = list(stream.records(clean(count)))
    return stream.manifest(), records


@settings(max_examples=20)
@given(st.floats(0.001, 0.5), st.integers(1, 400), st.integers(0, 2**32))
def test_the_manifest_is_what_the_oracle_finds(share: float, count: int, seed: int) -> None:
    manifest, records = sent(share, count, seed)
    without = sum(not value for _, value in records)  # as lines of a file they would not be there
    with TemporaryDirectory() as folder:
        Path(folder, "user_events.json").write_bytes(b"".join(value + b"\n" for _, value in records if value))
        found = expected(Path(folder))["user_events"]
    codes = found.by_code + Counter(malformed_json=without)
    assert manifest == {
        "read": len(records),
        "written": count,
        "duplicate": found.duplicate,
        "dead_letter": codes.total(),
        "dead_letter_by_code": dict(codes),
    }
    assert found.written == count
    # Everyone of them is there, and is the first of its key: a duplicate or a refused record displaces none.
    rows = {event["event_id"]: event for _, value in clean(count) for event in [msgspec.json.decode(value or b"")]}
    assert {key: row["page_url"] for key, row in found.rows.items()} == {
        key: event["page_url"] for key, event in rows.items()
    }


def test_every_kind_comes_and_stays_in_its_partition() -> None:
    manifest, records = sent(0.001, 50)
    values = [value for _, value in records]
    assert None in values
    assert b"" in values
    assert any(value and value.startswith(MAGIC) for value in values)
    codes = manifest["dead_letter_by_code"]
    assert isinstance(codes, dict)
    assert codes.keys() == {"malformed_json", "invalid_encoding", "missing_required", "wrong_type", "invalid_value"}
    keys = {msgspec.json.decode(value or b"")["event_id"]: key for key, value in clean(50)}
    again = [record for record in records if record[1] and b'"/again/' in record[1]]
    assert again
    for key, value in again:
        assert key == keys[msgspec.json.decode(value or b"")["event_id"]]


def test_the_same_seed_sends_the_same_and_the_input_stays_in_order() -> None:
    assert sent(0.3, 200) == sent(0.3, 200) != sent(0.3, 200, seed=2)
    first: dict[bytes | None, None] = dict.fromkeys(value for _, value in sent(0.3, 200)[1])
    given = [value for _, value in clean(200)]
    assert [value for value in first if value in set(given)] == given


def test_nothing_is_mixed_in_unasked() -> None:
    manifest, records = sent(0, 100)
    assert records == clean(100)
    assert manifest["read"] == manifest["written"] == 100


def test_what_is_no_event_is_passed_on_and_nothing_is_made_from_it() -> None:
    others: list[Keyed] = [(None, b"no json"), (b"k", b"[1]"), (None, b'{"id": 1}'), (None, b"\xff")]
    assert list(DirtyStream(0.5, 1).records(others)) == others


@pytest.mark.parametrize("share", [-0.1, 0.51, float("nan")])
def test_a_share_is_between_none_and_half(share: float) -> None:
    with pytest.raises(UsageError, match=r"^--dirty .*: give a share of the records from 0 to 0\.5$"):
        DirtyStream(share, 1)


def test_the_key_is_the_customers_id() -> None:
    values = [b'{"customer_id": "C1"}', b'{"customer_id": 7}', b'{"customer_id": null}', b"{}", b"broken", b'"\xff"']
    assert [key for key, _ in keyed(values)] == [b"C1", b"7", None, None, None, None]
