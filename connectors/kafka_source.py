"""Kafka in: ReadFromKafka's records as blocks, one for each partition in a bundle."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from contracts.decode import Block, Format
from contracts.envelope import envelope_attributes, envelope_of
from contracts.records import too_large
from contracts.refusal import ErrorCode, Refusal

__all__ = ["IntoBlocks", "KafkaRecord", "stop_reading", "topic_partition", "uri"]

BLOCK_RECORDS = 16_384
BLOCK_BYTES = 4 << 20
TOMBSTONE = "the record has no value (a tombstone)"
_stopped: set[str] = set()
_read: dict[str, dict[str, int]] = {}
_lock = threading.Lock()


class KafkaRecord(NamedTuple):
    """A record as ReadFromKafka gives it with metadata; `timestamp` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Any] | None


def uri(topic: str, partition: int) -> str:
    """The source of a partition's records."""
    return f"kafka://{topic}/{partition}"


def topic_partition(source: str) -> tuple[str, int]:
    """The topic and partition of a source."""
    topic, _, partition = source.removeprefix("kafka://").rpartition("/")
    return topic, int(partition)


def stop_reading(attempt: str) -> dict[str, int]:
    """From now on no block is made in this process for `attempt`; the offset behind the last block of each source.

    A record that has been read and is in no block leaves no trace: its offset is not committed, and the next start
    reads it again.
    """
    with _lock:
        _stopped.add(attempt)
        return dict(_read.get(attempt, {}))


class IntoBlocks(beam.DoFn):
    """KafkaRecord -> (table, Block), for each partition the records of a bundle, in order of offset."""

    def __init__(self, topics: Mapping[str, str], max_record_bytes: int, attempt: str) -> None:
        """`topics` maps a topic to its table; `attempt` names one execution of the job, see `stop_reading`."""
        self._topics = dict(topics)
        self._limit = max_record_bytes
        self._attempt = attempt
        self._held: dict[tuple[str, int], list[KafkaRecord]] = {}
        self._bytes = 0

    def start_bundle(self) -> None:
        self._held, self._bytes = {}, 0

    def process(self, record: KafkaRecord) -> Iterator[tuple[str, Block]]:
        held = self._held.setdefault((record.topic, record.partition), [])
        held.append(record)
        self._bytes += len(record.value or b"")
        if len(held) >= BLOCK_RECORDS or self._bytes >= BLOCK_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for item in self._flush():
            yield GlobalWindows.windowed_value(item)

    def _flush(self) -> Iterator[tuple[str, Block]]:
        held, self._held, self._bytes = self._held, {}, 0
        for (topic, partition), records in held.items():
            block = block_of(uri(topic, partition), records, self._limit)
            with _lock:
                if self._attempt in _stopped:
                    return
                ends = _read.setdefault(self._attempt, {})
                ends[block.source] = max(ends.get(block.source, 0), records[-1].offset + 1)
            yield self._topics[topic], block


def block_of(source: str, records: list[KafkaRecord], max_record_bytes: int) -> Block:
    """One partition's records as a block; those without a value or too large are refused here."""
    records.sort(key=_offset)
    refusals: list[Refusal] = []
    kept = records
    if any(record.value is None or len(record.value) > max_record_bytes for record in records):
        kept = [record for record in records if record.value is not None and len(record.value) <= max_record_bytes]
        refusals = [
            _refusal(record, max_record_bytes)
            for record in records
            if record.value is None or len(record.value) > max_record_bytes
        ]
    envelope = envelope_of(
        [record.key for record in kept], [record.timestamp for record in kept], [_headers(record) for record in kept]
    )
    positions = np.array([record.offset for record in kept], dtype=np.int64)
    values = [record.value or b"" for record in kept]
    return Block(source, Format.JSON, values, positions, refusals=tuple(refusals), envelope=envelope)


def _offset(record: KafkaRecord) -> int:
    return record.offset


def _headers(record: KafkaRecord) -> list[tuple[str, bytes | None]]:
    return [(header.key, header.value) for header in record.headers] if record.headers else []


def _refusal(record: KafkaRecord, limit: int) -> Refusal:
    row = envelope_of([record.key], [record.timestamp], [_headers(record)]).row(0)
    attributes: dict[str, object] = {"format": "json", **envelope_attributes(row)}
    if record.value is None:
        return Refusal(
            record.offset, b"", ErrorCode.MALFORMED_JSON, TOMBSTONE, attributes={**attributes, "tombstone": True}
        )
    found = too_large(record.value, record.offset, len(record.value), limit, "json")
    return Refusal(found.position, found.raw, found.code, found.message, size=found.size, attributes=attributes)
