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

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.timestamps: list[int] = []
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self.headers: dict[int, list[tuple[str, bytes | None]]] = {}
        """By number of the record; of those that have some."""

    def add(self, record: KafkaRecord) -> None:
        """Take in one more record."""
        if record.headers:
            self.headers[len(self.offsets)] = [(header.key, header.value) for header in record.headers]
        self.offsets.append(record.offset)
        self.timestamps.append(record.timestamp)
        self.keys.append(record.key)
        self.values.append(record.value)

    def block(self, source: str, max_record_bytes: int) -> Block:
        """All of them in order of offset; those without a value or too large are refused here."""
        offsets = np.array(self.offsets, dtype=np.int64)
        envelope = envelope_of(self.keys, self.timestamps, self.headers)
        values = self.values
        if (offsets[1:] < offsets[:-1]).any():
            order = np.argsort(offsets)
            offsets, envelope, values = offsets[order], envelope[order], [values[number] for number in order]
        refusals = {
            number: _refusal(value, int(offsets[number]), envelope.row(number), max_record_bytes)
            for number, value in enumerate(values)
            if value is None or len(value) > max_record_bytes
        }
        kept = np.array([number for number in range(len(values)) if number not in refusals], dtype=np.int64)
        return Block(
            source,
            Format.JSON,
            [value for value in values if value is not None and len(value) <= max_record_bytes],
            offsets[kept],
            refusals=tuple(refusals.values()),
            envelope=envelope[kept],
        )


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
            held = self._held[partition] = Held()
        held.add(record)
        self._bytes += len(record.value or b"")
        if len(held.offsets) >= BLOCK_RECORDS or self._bytes >= BLOCK_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for item in self._flush():
            yield GlobalWindows.windowed_value(item)

    def _flush(self) -> Iterator[tuple[str, Block]]:
        partitions, self._held, self._bytes = self._held, {}, 0
        for (topic, partition), held in partitions.items():
            block = held.block(uri(topic, partition), self._limit)
            with _lock:
                if self._attempt in _stopped:
                    return
                ends = _read.setdefault(self._attempt, {})
                ends[block.source] = max(ends.get(block.source, 0), max(held.offsets) + 1)
            yield self._topics[topic], block


def _refusal(value: bytes | None, offset: int, envelope: tuple[Any, ...], limit: int) -> Refusal:
    attributes: dict[str, object] = {"format": "json", **envelope_attributes(envelope)}
    if value is None:
        return Refusal(offset, b"", ErrorCode.MALFORMED_JSON, TOMBSTONE, attributes={**attributes, "tombstone": True})
    found = too_large(value, offset, len(value), limit, "json")
    return Refusal(found.position, found.raw, found.code, found.message, size=found.size, attributes=attributes)
