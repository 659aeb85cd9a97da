"""Kafka in: ReadFromKafka's records as blocks, one for each partition in a bundle."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from contracts.decode import Block, Format
from contracts.envelope import envelope_attributes, envelope_of
from contracts.records import too_large
from contracts.refusal import ErrorCode, Refusal
from transforms.metrics import BYTES, count

__all__ = ["Held", "IntoBlocks", "KafkaRecord", "stop_reading", "topic_partition", "uri"]

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


class Held:
    """Records of one partition, field by field.

    Bytes and numbers, which Python's garbage collector does not look at: as many records held as objects make it look
    through the whole process again and again, for a third of the time that the stream takes.
    """

    def __init__(self, max_record_bytes: int) -> None:
        self._limit = max_record_bytes
        self._offsets: list[int] = []
        self._timestamps: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes] = []
        self._headers: dict[int, list[tuple[str, bytes | None]]] = {}
        """By number of the record; of those that have some."""
        self._refusals: list[Refusal] = []

    def __len__(self) -> int:
        return len(self._offsets) + len(self._refusals)

    def add(self, record: KafkaRecord) -> None:
        """Take in one more record; one without a value or too large is refused here."""
        if record.value is None or len(record.value) > self._limit:
            self._refusals.append(_refusal(record, self._limit))
            return
        if record.headers:
            self._headers[len(self._offsets)] = _pairs(record)
        self._offsets.append(record.offset)
        self._timestamps.append(record.timestamp)
        self._keys.append(record.key)
        self._values.append(record.value)

    def block(self, source: str) -> Block:
        """All of them, in order of offset."""
        offsets = np.array(self._offsets, dtype=np.int64)
        envelope = envelope_of(self._keys, self._timestamps, self._headers)
        values = self._values
        if (offsets[1:] < offsets[:-1]).any():
            order = np.argsort(offsets)
            offsets, envelope, values = offsets[order], envelope[order], [values[number] for number in order]
        refusals = sorted(self._refusals, key=attrgetter("position"))
        return Block(source, Format.JSON, values, offsets, refusals=tuple(refusals), envelope=envelope)


class IntoBlocks(beam.DoFn):
    """KafkaRecord -> (table, Block), for each partition the records of a bundle, in order of offset."""

    def __init__(self, topics: Mapping[str, str], max_record_bytes: int, attempt: str) -> None:
        """`topics` maps a topic to its table; `attempt` names one execution of the job, see `stop_reading`."""
        self._topics = dict(topics)
        self._limit = max_record_bytes
        self._attempt = attempt
        self._held: dict[tuple[str, int], Held] = {}
        self._bytes = 0

    def start_bundle(self) -> None:
        self._held, self._bytes = {}, 0

    def process(self, record: KafkaRecord) -> Iterator[tuple[str, Block]]:
        partition = record.topic, record.partition
        held = self._held.get(partition)
        if held is None:
            held = self._held[partition] = Held(self._limit)
        held.add(record)
        self._bytes += len(record.value or b"")
        if len(held) >= BLOCK_RECORDS or self._bytes >= BLOCK_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for item in self._flush():
            yield GlobalWindows.windowed_value(item)

    def _flush(self) -> Iterator[tuple[str, Block]]:
        partitions, self._held, self._bytes = self._held, {}, 0
        for (topic, partition), held in partitions.items():
            block = held.block(uri(topic, partition))
            last = max([*block.positions[-1:].tolist(), *(refusal.position for refusal in block.refusals[-1:])])
            with _lock:
                if self._attempt in _stopped:
                    return
                ends = _read.setdefault(self._attempt, {})
                ends[block.source] = max(ends.get(block.source, 0), last + 1)
            count(BYTES, sum(map(len, block.records)), self._topics[topic])
            yield self._topics[topic], block


def _pairs(record: KafkaRecord) -> list[tuple[str, bytes | None]]:
    return [(header.key, header.value) for header in record.headers or []]


def _refusal(record: KafkaRecord, limit: int) -> Refusal:
    envelope = envelope_of([record.key], [record.timestamp], {0: _pairs(record)} if record.headers else {})
    attributes: dict[str, object] = {"format": "json", **envelope_attributes(envelope.row(0))}
    if record.value is None:
        return Refusal(
            record.offset, b"", ErrorCode.MALFORMED_JSON, TOMBSTONE, attributes={**attributes, "tombstone": True}
        )
    found = too_large(record.value, record.offset, len(record.value), limit, "json")
    return Refusal(found.position, found.raw, found.code, found.message, size=found.size, attributes=attributes)
