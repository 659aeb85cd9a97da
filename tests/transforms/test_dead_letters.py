"""A dead letter is small enough for BigQuery, whatever the record was, and says what was cut off."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.odcs.tables import shipped
from contracts.refusal import MAX_STORED_BYTES, MAX_TEXT, ErrorCode, Refusal, dead_letter_id
from tests import runs
from transforms.dead_letters import MAX_DEAD_LETTER_BYTES, dead_letters, minimal

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
RUN = replace(
    runs.RUN,
    run_id="r",
    pipeline="stream",
    started_at=NOW,
    project="p",
    operations_dataset="ops",
    max_record_bytes=9000,
)
TABLE = shipped()["user_events_streaming"]
SOURCE = "kafka://t/0"
LIMIT = 10_000_000


def letter(raw: bytes, message: str = "no", field: str | None = None, **attributes: Any) -> dict[str, Any]:
    """The dead letter of a record, whose attributes are JSON."""
    refusal = Refusal(7, raw, ErrorCode.WRONG_TYPE, message, field, attributes=attributes)
    table = dead_letters(TABLE, SOURCE, [refusal], RUN, NOW)
    assert table.combine_chunks().to_batches()[0].serialize().size < LIMIT
    (row,) = table.to_pylist()
    assert row["dead_letter_id"] == dead_letter_id(TABLE.name, SOURCE, 7, raw, "", json.dumps(attributes.get("key")))
    return {**row, "attributes": json.loads(row["attributes"])}


def test_dead_letters_of_two_records_are_two() -> None:
    """Of a recreated topic, of two datasets, of two tombstones; the same record again is the same."""

    def identity(origin: str, **attributes: Any) -> str:
        refusal = Refusal(7, b"", ErrorCode.MALFORMED_JSON, "no", attributes=attributes)
        (row,) = dead_letters(TABLE, SOURCE, [refusal], RUN, NOW, origin).to_pylist()
        return str(row["dead_letter_id"])

    records = [identity("dev c i", key="a"), identity("dev c i", key="b"), identity("dev c j", key="a")]
    records += [identity("prod c i", key="a"), identity("dev c i", key={"base64": "YQ=="}), identity("dev c i")]
    assert len(set(records)) == len(records)
    assert identity("dev c i", key="a", timestamp=1) == records[0]


TEXTS = st.builds(lambda text, times: text * times, st.text(max_size=9), st.sampled_from([1, 300_000, 2_000_000]))
BYTES = st.builds(lambda raw, times: raw * times, st.binary(max_size=9), st.sampled_from([1, 900_000]))
KEYS = TEXTS | st.builds(lambda raw: {"base64": base64.b64encode(raw).decode()}, BYTES)
HEADERS = st.lists(st.tuples(st.text(max_size=3), st.none() | KEYS).map(list), max_size=3) | st.just(
    [["h", "v"]] * 10_000
)


@pytest.mark.slow
@settings(max_examples=15)
@given(BYTES, st.text(), st.none() | st.text(), KEYS, HEADERS, TEXTS)
def test_every_dead_letter_fits_and_says_what_was_cut_off(
    raw: bytes, message: str, field: str | None, key: Any, headers: list[Any], text: str
) -> None:
    row = letter(raw, message, field, format="json", key=key, headers=headers, header=text)
    result = row["attributes"]
    assert row["raw"] == raw[:MAX_STORED_BYTES]
    assert row["truncated"] == (len(raw) > MAX_STORED_BYTES)
    assert result.get("size", len(raw)) == len(raw)
    assert result["format"] == "json"
    for name, whole in (("key", key), ("headers", headers), ("header", text)):
        if name + "_truncated" not in result:
            assert result[name] == whole
        elif isinstance(whole, dict):
            begin = base64.b64decode(result[name]["base64"])
            assert base64.b64decode(whole["base64"]).startswith(begin)
        else:
            assert result[name] == whole[: len(result[name])]
            assert len(result[name]) < len(whole)
    if len(json.dumps({"key": key, "headers": headers, "header": text})) + len(raw) < MAX_DEAD_LETTER_BYTES - 100:
        result.pop("size", None)
        assert result == {"format": "json", "key": key, "headers": headers, "header": text}


def test_headers_go_before_the_key() -> None:
    result = letter(b"x", key="\x01" * 1_000_000, headers=[["h", "\x01" * 10] for _ in range(90_000)])["attributes"]
    assert result["key"] == "\x01" * 1_000_000
    assert result["headers_truncated"] is True
    assert 20_000 < len(result["headers"]) < 90_000
    result = letter(b"x", key="\x01" * 1_900_000, headers=[["h", "v"]])["attributes"]
    assert (result["headers"], result["key_truncated"], len(result["key"])) == ([], True, 950_000)


def test_attributes_of_no_known_form_are_left_out() -> None:
    assert letter(b"x", odd=[["x" * 100]] * 100_000)["attributes"] == {"attributes_truncated": True}


@pytest.mark.parametrize(
    ("text", "stored"), [("\ud800", "\\ud800"), ("a" * 20_000, "a"), ("é" * 9_000, "é"), ("\x00\x1b", "\x00\x1b")]
)
def test_a_message_can_be_stored(text: str, stored: str) -> None:
    row = letter(b"x", message=text, field=text)
    assert row["error_message"] == row["field"]
    assert len(row["field"]) <= MAX_TEXT
    assert row["field"].startswith(stored)


def test_a_refusal_that_no_row_can_hold_costs_its_record_and_no_other() -> None:
    odd = Refusal(2, b"odd", ErrorCode.WRONG_TYPE, "no", attributes={"key": object()})
    refusals = [Refusal(1, b"a", ErrorCode.WRONG_TYPE, "no"), odd, Refusal(3, b"c", ErrorCode.WRONG_TYPE, "no")]
    rows = dead_letters(TABLE, SOURCE, refusals, RUN, NOW).sort_by("position").to_pylist()
    assert [(row["raw"], row["truncated"]) for row in rows] == [(b"a", False), (b"", True), (b"c", False)]
    assert rows[1]["error_message"].startswith("no (without its record")
    assert json.loads(rows[1]["attributes"]) == {"size": 3}


def test_a_dead_letter_without_its_record_says_where_it_is_and_why() -> None:
    cut = Refusal(4, b"b" * 9, ErrorCode.RECORD_TOO_LARGE, "large", "f", size=99, attributes={"key": "k"})
    whole = dead_letters(TABLE, SOURCE, [Refusal(3, b"a" * 9, ErrorCode.WRONG_TYPE, "no"), cut], RUN, NOW)
    bare = minimal(whole, "the row is odd").to_pylist()
    for before, row, size in zip(whole.to_pylist(), bare, (9, 99), strict=True):
        assert (row["raw"], row["truncated"], row["field"]) == (b"", True, None)
        assert row["error_message"] == f"{before['error_message']} (without its record: the row is odd)"
        assert json.loads(row["attributes"]) == {"size": size}
        changed = ("raw", "truncated", "field", "error_message", "attributes")
        assert {n: v for n, v in row.items() if n not in changed} == {
            n: v for n, v in before.items() if n not in changed
        }
