"""Read records again of which only the beginning is stored: from the file or the topic that they came from."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from google.api_core.exceptions import NotFound
from kafka import KafkaConsumer, TopicPartition

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import INPUT, OFFSETS
from connectors.files.names import InputFile
from connectors.files.storage import FileChanged, Storage
from connectors.kafka.client import admin, clients_closed, consumer, refusals, topic_ids
from connectors.kafka.config import KafkaConfig
from connectors.kafka.partitions import topic_partition
from connectors.sources.files import FileRange, read_blocks
from connectors.sources.stored_letters import StoredLetter
from contracts.bookkeeping import LEDGER
from contracts.decoding.decoder import Block, Format
from contracts.errors import Unavailable
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Table

__all__ = ["Origin", "ReadAgain", "origins"]

POLL_MS = 1000
GIVE_UP_SECONDS = 60.0
GONE = "the file is gone or was changed since"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run has read: a generation of a file and its size in bytes, or a topic by its id."""

    generation: int | None
    size: int | None
    topic_id: str | None


def origins(warehouse: Warehouse, operations: str, letters: str) -> dict[tuple[str, str], Origin]:
    """Return the origin of each (run, source) of truncated letters, as the ledger has it.

    `letters` is a FROM item with their `run_id`, `source` and `truncated`.
    """
    rows = warehouse.query(
        "SELECT DISTINCT line.run_id, line.source, line.generation, line.size, line.topic_id"
        f" FROM `{warehouse.project}.{operations}.{LEDGER.name}` AS line"
        f" JOIN (SELECT DISTINCT run_id, source FROM {letters} WHERE truncated) AS letter"
        " ON letter.run_id = line.run_id AND letter.source = line.source"
        f" WHERE line.kind IN ('{INPUT}', '{OFFSETS}')"
    )
    return {
        (row["run_id"], row["source"]): Origin(row["generation"], row["size"], row["topic_id"] or None) for row in rows
    }


@dataclass(frozen=True)
class ReadAgain:
    """Reads whole records from their sources. A record that is not found there is refused again, with the reason."""

    storage: Storage
    kafka: KafkaConfig | None
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict)

    def blocks(self, letters: Iterable[StoredLetter], table: Table, max_record_bytes: int) -> Iterator[Block]:
        """Yield the records of truncated letters of one table.

        Raises ReadFailed for a file that cannot be read now, and as `connectors.kafka.client.refusals` does.
        """
        groups: dict[tuple[str, str], list[StoredLetter]] = defaultdict(list)
        for letter in letters:
            groups[letter.run_id, letter.source].append(letter)
        for (run_id, source), of_source in groups.items():
            missing = {letter.position: letter for letter in of_source}
            origin = self.origins.get((run_id, source))
            if origin is None:
                why = f"the ledger does not say what run {run_id} has read of its source"
            elif source.startswith("kafka://"):
                why = yield from self._of_topic(source, origin, missing)
            else:
                why = yield from self._of_file(source, origin, missing, table, max_record_bytes)
            for position, letter in missing.items():
                yield _refused(letter, position, why)

    def _of_file(
        self, source: str, origin: Origin, missing: dict[int, StoredLetter], table: Table, limit: int
    ) -> Generator[Block, None, str]:
        """Take what is found out of `missing`, and return why the others were not."""
        file = InputFile(table.name, source, origin.size or 0, origin.generation or 0)
        try:
            for block in read_blocks(self.storage, FileRange(file), table, limit):
                for index, position in enumerate(block.positions.tolist()):
                    if position in missing and _is(missing[position], block.records[index]):
                        del missing[position]
                        yield block.part([index])
                if not missing:
                    break
        except (FileChanged, NotFound):
            return GONE
        return "its file has no such record under today's contract"

    def _of_topic(self, source: str, origin: Origin, missing: dict[int, StoredLetter]) -> Generator[Block, None, str]:
        if self.kafka is None:
            return "--bootstrap_servers says where its topic is"
        topic, partition = topic_partition(source)
        place = TopicPartition(topic, partition)
        with clients_closed():
            client = admin(self.kafka)
            with refusals(self.kafka):
                exists = topic in client.list_topics()
            if not exists or origin.topic_id not in (None, topic_ids(client, self.kafka, [topic])[topic]):
                return "its topic is gone or was created again"
            reader = consumer(self.kafka)
            with refusals(self.kafka):
                reader.assign([place])
                first, end = reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]
                for position in sorted(missing):
                    value = self._value(reader, place, position) if first <= position < end else None
                    if value is not None and _is(missing[position], value):
                        del missing[position]
                        yield Block(source, Format.JSON, [value], np.array([position], dtype=np.int64))
        return "the broker does not have it any more"

    @staticmethod
    def _value(reader: KafkaConsumer, place: TopicPartition, offset: int) -> bytes | None:
        """Return the value of the record at an offset, None if there is none."""
        reader.seek(place, offset)
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            for record in reader.poll(POLL_MS, max_records=1).get(place, []):
                return record.value if record.offset == offset else None
            if reader.position(place) > offset:
                return None
        raise Unavailable(f"Kafka returns no record of {place.topic}")


def _is(letter: StoredLetter, record: bytes) -> bool:
    """Whether a record is the one whose beginning a letter has."""
    return len(record) == letter.attributes.get("size") and record.startswith(letter.raw)


def _refused(letter: StoredLetter, position: int, why: str) -> Block:
    attributes = dict(letter.attributes)
    size = attributes.get("size")
    message = f"only the beginning of the record is stored, and {why}"
    refusal = Refusal(
        position,
        letter.raw,
        ErrorCode.RECORD_TOO_LARGE,
        message,
        size=size if isinstance(size, int) else None,
        attributes=attributes,
    )
    return Block(letter.source, Format.JSON, [], np.array([], dtype=np.int64), refusals=(refusal,))
