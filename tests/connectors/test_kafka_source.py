"""Kafka's records as blocks, without a broker."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.partitions import topic_partition, uri
from connectors.sources.kafka import BLOCK_BYTES, BLOCK_RECORDS, BlockMaker, Held, KafkaRecord
from connectors.sources.read_offsets import ReadOffsets
from connectors.sources.stored_letters import decode_again
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.decoding.envelope import ENVELOPE, envelope_attributes
from contracts.odcs.tables import shipped
from contracts.refusal import MAX_STORED_BYTES, ErrorCode
from tests import runs
from transforms.dead_letters import dead_letters
from transforms.offsets import DEAD_LETTERS, Stamp
from transforms.run_state import RunState
from transforms.stamped import decode_and_stamp

LIMIT = 100
SOURCE = "kafka://user.events-1/3"
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


def record(offset: int, value: bytes | None = b"{}", **fields: Any) -> KafkaRecord:
    return KafkaRecord(
        "user.events-1",
        3,
        offset,
        1_700_000_000_000 + offset,
        *(fields.get("key", b"k%d" % offset), value, fields.get("headers", [])),
    )


def block_of(records: list[KafkaRecord], limit: int) -> Block:
    """The records as a block of their partition."""
    held = Held(limit)
    for one in records:
        held.add(one)
    return held.block(SOURCE)


def bytes_of(one: KafkaRecord) -> int:
    """Bytes of a record's value, key and headers."""
    headers = [(header.key, header.value or b"") for header in one.headers or []]
    return len(one.value or b"") + len(one.key or b"") + sum(len(name) + len(value) for name, value in headers)


def header(key: str, value: bytes | None) -> SimpleNamespace:
    """As Beam's row of a header reads."""
    return SimpleNamespace(key=key, value=value)


HEADER = st.builds(header, st.text(max_size=3), st.none() | st.binary(max_size=3))
VALUES = st.none() | st.binary(max_size=20) | st.just(b"x" * LIMIT) | st.just(b"x" * (LIMIT + 1))
RECORDS = st.lists(
    st.builds(
        record,
        st.integers(0, 10**6),
        VALUES,
        key=st.none() | st.binary(max_size=5),
        headers=st.none() | st.lists(HEADER, max_size=2),
    ),
    max_size=20,
    unique_by=lambda one: one.offset,
)


@given(RECORDS)
def test_every_record_is_in_its_block_once(records: list[KafkaRecord]) -> None:
    block = block_of(records, LIMIT)
    by_offset = {one.offset: one for one in records}
    assert (block.source, block.format, block.count) == (SOURCE, Format.JSON, len(records))
    assert block.positions.tolist() == sorted(block.positions.tolist())
    assert block.envelope is not None
    assert block.envelope.schema == ENVELOPE
    kept = dict(zip(block.positions.tolist(), zip(block.records, block.envelope.iter_rows(), strict=True), strict=True))
    refused = {refusal.position: refusal for refusal in block.refusals}
    assert sorted([*kept, *refused]) == sorted(by_offset)
    for offset, one in by_offset.items():
        if one.value is None:
            assert refused[offset].code is ErrorCode.MALFORMED_JSON
            assert refused[offset].raw == b""
            assert "tombstone" in refused[offset].message
            assert refused[offset].attributes["tombstone"] is True
        elif bytes_of(one) > LIMIT:
            assert refused[offset].code is ErrorCode.RECORD_TOO_LARGE
            assert refused[offset].raw == one.value
            assert refused[offset].message.startswith(
                f"the record has {bytes_of(one) if len(one.value) <= LIMIT else len(one.value)} bytes"
            )
        else:
            assert kept[offset][0] == one.value
        attributes = refused[offset].attributes if offset in refused else envelope_attributes(kept[offset][1])
        assert attributes["timestamp"] == one.timestamp
        assert ("key" in attributes) == (one.key is not None)
        assert len(attributes.get("headers", [])) == len(one.headers or [])


def test_a_record_may_have_more_fields_than_are_read() -> None:
    """Beam's own row has the timestamp's type, too."""
    fields = record(4, b"{}")._asdict() | {"timestampTypeId": 0, "timestampTypeName": "CreateTime"}
    beam_row: Any = SimpleNamespace(**fields)
    assert block_of([beam_row], LIMIT).positions.tolist() == [4]


def test_what_is_kept_of_a_record_that_is_too_large_is_cut() -> None:
    held = Held(10_000_000)
    value = b"v" * 11_000_000
    assert held.add(record(1, value)) == MAX_STORED_BYTES
    held.add(record(2, b"v", key=b"k" * 10_000_000))
    held.add(record(3, b"v", headers=[header("h" * 100, b"v" * 1_000)] * 9_999))
    value_over, key_over, headers_over = held.block(SOURCE).refusals
    assert (value_over.raw, value_over.size, value_over.truncated) == (value[:MAX_STORED_BYTES], 11_000_000, True)
    for refusal, size in ((key_over, 10_000_001), (headers_over, 10_998_903)):
        assert (refusal.raw, refusal.size, refusal.truncated) == (b"v", 1, False)
        assert refusal.code is ErrorCode.RECORD_TOO_LARGE
        assert f"{size} bytes with key and headers; the limit is 10000000" in refusal.message


def test_large_keys_end_a_block_too() -> None:
    maker = BlockMaker({"user.events-1": "t"}, BLOCK_BYTES, "attempt", RunState())
    records = [record(offset, b"{}", key=b"k" * (BLOCK_BYTES // 4)) for offset in range(9)]
    assert [block.count for _, block in run(maker, *records)] == [4, 4, 1]


@pytest.mark.parametrize("value", [b"{}", None])
def test_headers_without_a_byte_end_a_block_too(value: bytes | None) -> None:
    """They are two bytes each on the wire, and a hundred in memory."""
    maker = BlockMaker({"user.events-1": "t"}, BLOCK_BYTES, "attempt", RunState())
    headers = [header("", None)] * 10_000
    records = [record(offset, value, headers=headers) for offset in range(9)]
    assert [block.count for _, block in run(maker, *records)] == [5, 4]


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="._-"), min_size=1),
    st.integers(0, 9999),
)
def test_a_source_names_its_partition(topic: str, partition: int) -> None:
    assert topic_partition(uri(topic, partition)) == (topic, partition)


def run(maker: BlockMaker, *records: KafkaRecord) -> list[tuple[str, Block]]:
    """The blocks of one bundle."""
    return [block for record in records for block in maker.add(record)] + list(maker.flush())


def test_a_bundle_gives_a_block_for_each_partition() -> None:
    maker = BlockMaker({"a": "one", "b": "two"}, LIMIT, "attempt", RunState())
    given = [("b", 0, 5), ("a", 1, 9), ("a", 0, 7), ("a", 1, 3), ("b", 0, 4)]
    result = run(maker, *(KafkaRecord(topic, p, offset, 0, None, b"{}", None) for topic, p, offset in given))
    assert {(name, block.source): block.positions.tolist() for name, block in result} == {
        ("two", "kafka://b/0"): [4, 5],
        ("one", "kafka://a/1"): [3, 9],
        ("one", "kafka://a/0"): [7],
    }
    assert run(maker) == []


@pytest.mark.parametrize("value", [b"x", b"x" * (BLOCK_BYTES // 4)])
def test_a_bundle_without_end_is_cut_into_blocks(value: bytes) -> None:
    maker = BlockMaker({"user.events-1": "t"}, BLOCK_BYTES, "attempt", RunState())
    total = 2 * BLOCK_RECORDS + 10 if len(value) == 1 else 9
    blocks = [block for _, block in run(maker, *(record(offset, value) for offset in range(total)))]
    assert np.concatenate([block.positions for block in blocks]).tolist() == list(range(total))
    assert [block.count for block in blocks] == ([BLOCK_RECORDS] * 2 + [10] if len(value) == 1 else [4, 4, 1])


def test_a_stopped_attempt_makes_no_block() -> None:
    state = RunState()
    offsets = state.part(ReadOffsets)
    maker = BlockMaker({"user.events-1": "t"}, LIMIT, "stopped", state)
    other = BlockMaker({"user.events-1": "t"}, LIMIT, "other", state)
    run(maker, record(8), record(9))
    run(maker, record(4), record(3))
    assert list(maker.add(record(10))) == []
    assert offsets.stop("stopped") == {SOURCE: 10}
    assert list(maker.flush()) == []
    assert run(maker, record(11)) == []
    assert offsets.stop("stopped") == {SOURCE: 10}
    assert len(run(other, record(1))) == 1
    assert offsets.stop("never read") == {}


def clean(number: int) -> bytes:
    return json.dumps(
        {
            "event_id": f"e{number}",
            "customer_id": "c",
            "event_type": "page_view",
            "event_timestamp": "2026-03-01T12:34:56.789Z",
            "page_url": "https://shop.example/p",
        }
    ).encode()


BAD: list[tuple[bytes | None, str]] = [
    (None, "malformed_json"),
    (b"", "malformed_json"),
    (b"\0\0\0\1\2{}", "malformed_json"),
    (b"\0", "malformed_json"),
    (b"{", "malformed_json"),
    (b'{"event_id": "\xff"}', "invalid_encoding"),
    (b"[1]", "malformed_json"),
    (b'{"event_id": "x"}', "missing_required"),
    (b'{"event_id": "' + b"x" * 9000 + b'"}', "record_too_large"),
]


def letters_of(records: list[KafkaRecord]) -> list[dict[str, Any]]:
    """The dead letters of these records, by offset."""
    table = shipped()["user_events_streaming"]
    refusals = Decoder(table, NOW.date, keep_raw=True).decode(block_of(records, 9000)).refusals
    rows: list[dict[str, Any]] = dead_letters(table, SOURCE, refusals, RUN, NOW).to_pylist()
    return sorted(rows, key=lambda row: row["position"])


def test_every_dead_letter_of_kafka_decodes_again_to_the_same_code() -> None:
    records = [
        record(n, value, key=b"\xff%d" % n, headers=[header("trace", b"\x80"), header("empty", None)])
        for n, (value, _) in enumerate(BAD)
    ]
    rows = letters_of(records)
    assert [row["error_code"] for row in rows] == [code for _, code in BAD]
    assert [row["raw"] for row in rows] == [value or b"" for value, _ in BAD]
    assert len({row["dead_letter_id"] for row in rows}) == len(rows)
    for row, one in zip(rows, records, strict=True):
        again = decode_again(row, shipped()["user_events_streaming"], 9000, NOW.date())
        assert again is not None
        assert (again.code.value, again.field) == (row["error_code"], row["field"])
        attributes = json.loads(row["attributes"])
        assert base64.b64decode(attributes["key"]["base64"]) == one.key
        assert attributes["timestamp"] == one.timestamp
        assert attributes["headers"] == [["trace", {"base64": "gA=="}], ["empty", None]]
    assert "Schema Registry (schema 258)" in rows[2]["error_message"]


@given(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=10))
def test_the_magic_byte_of_a_schema_registry_is_named(schema: int, rest: bytes) -> None:
    block = block_of([record(1, b"\0" + schema.to_bytes(4, "big") + rest)], LIMIT)
    (refusal,) = Decoder(shipped()["user_events_streaming"], NOW.date).decode(block).refusals
    assert refusal.code is ErrorCode.MALFORMED_JSON
    assert f"(schema {schema})" in refusal.message


def test_the_parts_of_a_stamped_block_hold_all_of_it() -> None:
    decoder = Decoder(shipped()["user_events_streaming"], NOW.date, keep_raw=True)
    records = [record(3 * n, clean(n)) for n in range(50)] + [record(1, None), record(7, b"x" * 999), record(10, b"{")]
    parts, refused = decode_and_stamp("t", block_of(records, 500), decoder.decode, 4)
    assert refused is not None
    stamps = {packed for _, (packed, _) in parts}
    stamp = Stamp.unpack(next(iter(stamps)))
    assert len(stamps) == 1
    assert set(stamp.parts) == {bucket for (_, bucket), _ in parts} | {DEAD_LETTERS}
    rows = pl.concat(pl.read_ipc_stream(ipc) for _, (_, ipc) in parts)
    held = sorted([*rows["_position"], *(refusal.position for refusal in refused.refusals)])
    assert held == sorted(one.offset for one in records)
    assert [n for first, last in stamp.runs for n in range(first, last + 1)] == held
    assert dict(zip(rows["_position"], rows["_raw"], strict=True)) == {3 * n: clean(n) for n in range(50)}
    assert dict(zip(rows["_position"], rows["_key"], strict=True)) == {3 * n: b"k%d" % (3 * n) for n in range(50)}
