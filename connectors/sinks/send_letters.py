"""Send dead letters to a topic again, each with its key and headers, and mark those that the broker has."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata

from connectors.bigquery.arrow_read import read_batches
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import SENT
from connectors.kafka.client import producer, refusals
from connectors.kafka.config import KafkaConfig
from contracts.bookkeeping import REPLAYED
from contracts.decoding.letter_attributes import stored_attributes

__all__ = ["RETRY_COUNT", "SendLetters", "as_record", "why_not_sent"]

RETRY_COUNT = "retry_count"
"""The header that says how often a record was sent again."""
COLUMNS = ("dead_letter_id", "raw", "truncated", "attributes", "retry_count")
SENT_AT_ONCE = 1_000
"""Records between two marks. A run that is killed between them sends these a second time at most."""
SETTLE_SECONDS = 150.0
"""Longer than kafka-python itself tries to deliver a record."""
Headers = list[tuple[str, bytes | None]]


@dataclass
class SendLetters:
    """Sends the dead letters of `pinned`, a table of the operations dataset that does not change.

    A run that continues sends what it has not marked. What was sent and not marked is sent twice: the stream of the
    topic knows it by its key.
    """

    warehouse: Warehouse
    operations: str
    pinned: str
    run_id: str
    sent: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """Why records were not sent, and how many."""

    def send(self, config: KafkaConfig, topic: str) -> None:
        """Send what is not marked. Raises as `connectors.kafka.client.refusals` does."""
        marked = self._marked()
        with producer(config) as kafka, refusals(config):
            for rows in self._batches():
                waiting: dict[str, FutureRecordMetadata] = {}
                for row in rows:
                    name = row["dead_letter_id"]
                    if name in marked:
                        self.sent += 1
                    elif why := why_not_sent(row):
                        self.left[why] += 1
                    elif future := self._sending(kafka, topic, row):
                        waiting[name] = future
                for future in waiting.values():
                    future.get(timeout=SETTLE_SECONDS)
                self._mark(list(waiting))

    def _batches(self) -> Iterator[Sequence[dict[str, Any]]]:
        for batch in read_batches(self.warehouse.project, self.operations, self.pinned, COLUMNS, "TRUE"):
            rows = batch.to_pylist()
            for start in range(0, len(rows), SENT_AT_ONCE):
                yield rows[start : start + SENT_AT_ONCE]

    def _sending(self, kafka: KafkaProducer, topic: str, row: Mapping[str, Any]) -> FutureRecordMetadata | None:
        """Begin to send a record; None if it is larger than a request may be."""
        key, headers = as_record(stored_attributes(row["attributes"]), row["retry_count"] + 1)
        try:
            future: FutureRecordMetadata = kafka.send(topic, value=row["raw"], key=key, headers=headers)
            return future
        except MessageSizeTooLargeError:
            self.left["it is larger than a request may be"] += 1
            return None

    def _marked(self) -> set[str]:
        rows = self.warehouse.query(
            f"SELECT DISTINCT dead_letter_id FROM {self._states} WHERE run_id = @run AND state = '{SENT}'",
            run=self.run_id,
        )
        return {row["dead_letter_id"] for row in rows}

    def _mark(self, names: list[str]) -> None:
        if not names:
            return
        self.warehouse.query(
            f"INSERT INTO {self._states} (dead_letter_id, run_id, state, replayed_at)"
            f" SELECT name, @run, '{SENT}', CURRENT_TIMESTAMP() FROM UNNEST(@names) AS name"
            f" WHERE NOT EXISTS (SELECT 1 FROM {self._states} AS done WHERE done.run_id = @run"
            " AND done.dead_letter_id = name)",
            run=self.run_id,
            names=names,
        )
        self.sent += len(names)

    @property
    def _states(self) -> str:
        return f"`{self.warehouse.project}.{self.operations}.{REPLAYED.name}`"


def why_not_sent(row: Mapping[str, Any]) -> str:
    """Return why a record cannot be sent as it came, "" if it can."""
    attributes = stored_attributes(row["attributes"])
    if row["truncated"]:
        return "only its beginning is stored"
    if attributes.get("tombstone"):
        return "it has no value, and whether its key has come again nobody knows"
    if any(attributes.get(f"{name}_truncated") for name in ("key", "headers", "attributes")):
        return "its key or its headers are stored in part"
    return ""


def as_record(attributes: Mapping[str, object], retry_count: int) -> tuple[bytes | None, Headers]:
    """Return the key and the headers of a record, with the header RETRY_COUNT."""
    stored = attributes.get("headers")
    headers = [(str(name), _bytes(value)) for name, value in stored] if isinstance(stored, list) else []
    kept = [(name, value) for name, value in headers if name != RETRY_COUNT]
    return _bytes(attributes.get("key")), [*kept, (RETRY_COUNT, b"%d" % retry_count)]


def _bytes(value: object) -> bytes | None:
    """Return the bytes of a key or a header's value, see contracts/decoding/envelope.py."""
    if isinstance(value, Mapping):
        return base64.b64decode(value["base64"])
    return None if value is None else str(value).encode()
