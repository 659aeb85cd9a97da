"""Read from Kafka: records, and blocks of them, one for each partition in a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.kafka import ReadFromKafka, default_io_expansion_service
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from connectors.kafka.partitions import uri
from connectors.sources.read_offsets import ReadOffsets
from contracts.decoding.decoder import Block, Format
from contracts.decoding.envelope import envelope_attributes, envelope_of
from contracts.decoding.records import too_large
from contracts.refusal import MAX_STORED_BYTES, ErrorCode, Refusal
from transforms.coders import TableBlock
from transforms.metrics import BYTES
from transforms.run import Run
from transforms.run_state import RunState

__all__ = ["BlockMaker", "Held", "KafkaRecord", "MakeBlocks", "ReadRecords"]

NEW_PARTITIONS_SECONDS = 30
"""How often to look for new partitions of the topics."""
POLL_SECONDS = 1
"""How long to read one partition at a time, in whole seconds. Its records are passed on after that, and partitions
that share a worker's thread are read in turn. Beam's default is 2."""

BLOCK_RECORDS = 16_384
BLOCK_BYTES = 4 << 20
HEADER_BYTES = 100
"""Bytes of memory that a header takes, in addition to its name and value."""
TOMBSTONE = "the record has no value (a tombstone)"


class KafkaRecord(NamedTuple):
    """A record as ReadFromKafka returns it with metadata; `timestamp` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Any] | None


class Held:
    """Records of one partition, field by field.

    It holds bytes and numbers, which Python's garbage collector does not track. The same records held as objects would
    make it scan the whole process again and again, for a third of the time that the stream takes.
    """

    def __init__(self, max_record_bytes: int) -> None:
        self._limit = max_record_bytes
        self._offsets: list[int] = []
        self._timestamps: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes] = []
        self._headers: dict[int, list[tuple[str, bytes | None]]] = {}
        """Headers by number of the record, if it has any."""
        self._refusals: list[Refusal] = []

    def __len__(self) -> int:
        return len(self._offsets) + len(self._refusals)

    def add(self, record: KafkaRecord) -> int:
        """Hold one more record, or refuse one without a value or too large; return the bytes of memory it takes."""
        key, value, headers = record.key, record.value, record.headers  # Beam's row has more fields than these
        size = (len(value) if value else 0) + (len(key) if key else 0)
        overhead = 0
        if headers:
            overhead = HEADER_BYTES * len(headers)
            size += sum(len(header.key or "") + len(header.value or b"") for header in headers)
        if value is None or size > self._limit:
            self._refusals.append(_refusal(record, size, self._limit))
            return min(size, MAX_STORED_BYTES) + overhead
        if headers:
            self._headers[len(self._offsets)] = _pairs(record)
        self._offsets.append(record.offset)
        self._timestamps.append(record.timestamp)
        self._keys.append(key)
        self._values.append(value)
        return size + overhead

    def block(self, source: str) -> Block:
        """The records as one block, in order of offset."""
        offsets = np.array(self._offsets, dtype=np.int64)
        envelope = envelope_of(self._keys, self._timestamps, self._headers)
        values = self._values
        if (offsets[1:] < offsets[:-1]).any():
            order = np.argsort(offsets)
            offsets, envelope, values = offsets[order], envelope[order], [values[number] for number in order]
        refusals = sorted(self._refusals, key=attrgetter("position"))
        return Block(source, Format.JSON, values, offsets, refusals=tuple(refusals), envelope=envelope)


class BlockMaker:
    """Makes blocks of the records of a bundle, one for each partition; larger bundles make several.

    It does not release a block after its `attempt` was stopped in the run's ReadOffsets.
    """

    def __init__(
        self,
        topics: Mapping[str, str],
        max_record_bytes: int,
        attempt: str,
        state: RunState,
        generations: Mapping[str, str] | None = None,
    ) -> None:
        """`generations` has the id of each topic, for tables whose rows are told apart by their offsets."""
        self._topics = dict(topics)
        self._generations = dict(generations or {})
        self._limit = max_record_bytes
        self._attempt, self._state = attempt, state
        self._held: dict[tuple[str, int], Held] = {}
        self._held_bytes = 0

    def add(self, record: KafkaRecord) -> Iterator[TableBlock]:
        """Take one record; yield all blocks if one of them is large enough."""
        partition = record.topic, record.partition
        held = self._held.get(partition)
        if held is None:
            held = self._held[partition] = Held(self._limit)
        self._held_bytes += held.add(record)
        if len(held) >= BLOCK_RECORDS or self._held_bytes >= BLOCK_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[TableBlock]:
        """Yield what is held, a block for each partition."""
        partitions, self._held, self._held_bytes = self._held, {}, 0
        for (topic, partition), held in partitions.items():
            block = held.block(uri(topic, partition))
            last = max([*block.positions[-1:].tolist(), *(refusal.position for refusal in block.refusals[-1:])])
            if not self._state.part(ReadOffsets).advance(self._attempt, block.source, last + 1):
                return
            self._state.metrics.count(BYTES, sum(map(len, block.records)), self._topics[topic])
            if topic in self._generations:
                block = replace(block, origin=f"{block.source}#{self._generations[topic]}")
            yield self._topics[topic], block


@dataclass(eq=False)
class ReadRecords(beam.PTransform[PBegin, PCollection[KafkaRecord]]):
    """Read the records of topics, forever, from the committed offsets of the consumer's group on.

    Attributes:
        consumer: The configuration of the Java consumer.
        topics: The topics.
        java_environment: Arguments for the expansion service that say where the Java half of the job runs.
    """

    consumer: Mapping[str, str]
    topics: tuple[str, ...]
    java_environment: tuple[str, ...] = ()

    def expand(self, pipeline: PBegin) -> PCollection[KafkaRecord]:
        records: PCollection[KafkaRecord] = pipeline | "Consume" >> ReadFromKafka(
            dict(self.consumer),
            list(self.topics),
            with_metadata=True,
            consumer_polling_timeout=POLL_SECONDS,
            dynamic_read_poll_interval_seconds=NEW_PARTITIONS_SECONDS,
            expansion_service=default_io_expansion_service(list(self.java_environment)),
        )
        return records


@dataclass(eq=False)
class MakeBlocks(beam.PTransform[PCollection[KafkaRecord], PCollection[TableBlock]]):
    """Make blocks of records: for each partition the records of a bundle, in order of offset.

    Attributes:
        topics: The table of each topic.
        max_record_bytes: A record with more bytes (value, key and headers) is refused.
        run: The run.
        attempt: The name of one execution of its job, see ReadOffsets.
        generations: The id of each topic, which a recreated topic does not share.
    """

    topics: Mapping[str, str]
    max_record_bytes: int
    run: Run
    attempt: str
    generations: Mapping[str, str] = field(default_factory=dict)

    def expand(self, records: PCollection[KafkaRecord]) -> PCollection[TableBlock]:
        step = _MakeBlocks(self.topics, self.max_record_bytes, self.run, self.attempt, self.generations)
        blocks: PCollection[TableBlock] = records | "Collect" >> beam.ParDo(step).with_output_types(TableBlock)
        return blocks


class _MakeBlocks(beam.DoFn):
    """KafkaRecord -> TableBlock."""

    def __init__(
        self, topics: Mapping[str, str], max_record_bytes: int, run: Run, attempt: str, generations: Mapping[str, str]
    ) -> None:
        self._arguments = dict(topics), max_record_bytes, attempt
        self._generations = dict(generations)
        self._run = run

    def start_bundle(self) -> None:
        self._blocks = BlockMaker(*self._arguments, self._run.state, self._generations)

    def process(self, record: KafkaRecord) -> Iterator[TableBlock]:
        return self._blocks.add(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for block in self._blocks.flush():
            yield GlobalWindows.windowed_value(block)


def _pairs(record: KafkaRecord) -> list[tuple[str, bytes | None]]:
    return [(header.key, header.value) for header in record.headers or []]


def _refusal(record: KafkaRecord, size: int, limit: int) -> Refusal:
    envelope = envelope_of([record.key], [record.timestamp], {0: _pairs(record)} if record.headers else {})
    attributes: dict[str, object] = {"format": "json", **envelope_attributes(envelope.row(0))}
    if record.value is None:
        return Refusal(
            record.offset, b"", ErrorCode.MALFORMED_JSON, TOMBSTONE, attributes={**attributes, "tombstone": True}
        )
    refusal = too_large(record.value[:MAX_STORED_BYTES], record.offset, len(record.value), limit, "json")
    message = refusal.message
    if len(record.value) <= limit:
        message = f"the record has {size} bytes with key and headers; the limit is {limit}"
        attributes["size"] = size  # of the whole record: `replay` would refuse its value alone with another code
    return Refusal(record.offset, refusal.raw, refusal.code, message, size=refusal.size, attributes=attributes)
