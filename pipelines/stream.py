"""Stream: Kafka's records become blocks, blocks become clean rows, every record leaves by one of three doors.

Kafka -> blocks -> decode and validate -> append rows -----.
                        |                   |               \\
                        `-- refused --------'-> append letters -> commit offsets, each behind its ledger line
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.kafka import ReadFromKafka, default_io_expansion_service
from apache_beam.pvalue import PCollection

from connectors.bigquery_append import AppendLetters, AppendRows, Destination
from connectors.commit_offsets import CommitOffsets
from connectors.group_offsets import GroupOffsets
from connectors.kafka_source import IntoBlocks, KafkaRecord
from connectors.keep_lease import KeepLeases
from connectors.stream_ledger import StreamLedger
from transforms.stamped import DecodeStampedBlocks, StampedPart

__all__ = ["Stream"]

NEW_PARTITIONS_SECONDS = 30
"""How often topics are looked at for partitions that are new."""
POLL_SECONDS = 1
"""How long one partition is read at a time, whole seconds. What was read is passed on after that, and partitions that
share a worker's thread are read in turn; Beam's default is 2."""


@dataclass(frozen=True)
class Stream:
    """A stream as a graph. `topics` maps a topic to its table, `consumer` is the Java consumer's configuration.

    `attempt` names one execution of it: the same run is submitted again after a failure.
    """

    topics: Mapping[str, str]
    consumer: Mapping[str, str]
    destination: Destination
    offsets: GroupOffsets
    ledger: StreamLedger
    max_record_bytes: int
    allow_lost: bool
    attempt: str
    java_environment: tuple[str, ...] = ()
    """Arguments for the expansion service that say where Kafka's half of the job runs."""
    kept_leases: tuple[str, ...] = ()
    """The leases that the job itself keeps, since it outlives its launcher; see KeepLeases."""

    def build(self, pipeline: beam.Pipeline) -> None:
        """From the topics to the warehouse, and the offsets behind it."""
        to = self.destination
        if self.kept_leases:
            begin = pipeline | beam.Impulse()
            _ = begin | "Keep leases" >> beam.ParDo(KeepLeases(to.warehouse, to.run, self.kept_leases))
        records = pipeline | "Read from Kafka" >> ReadFromKafka(
            dict(self.consumer),
            list(self.topics),
            with_metadata=True,
            consumer_polling_timeout=POLL_SECONDS,
            dynamic_read_poll_interval_seconds=NEW_PARTITIONS_SECONDS,
            expansion_service=default_io_expansion_service(list(self.java_environment)),
        )
        self.process(records)

    def process(self, records: PCollection[KafkaRecord]) -> None:
        """From records to committed offsets. Nothing reshuffles records before they are in blocks."""
        to = self.destination
        decoded = (
            records
            | "Into blocks" >> beam.ParDo(IntoBlocks(self.topics, self.max_record_bytes, self.attempt))
            | "Decode and validate"
            >> beam.ParDo(DecodeStampedBlocks(to.tables, to.buckets))
            .with_output_types(StampedPart)
            .with_outputs(DecodeStampedBlocks.REFUSED, main="rows")
        )
        written = decoded.rows | "Append rows" >> beam.ParDo(AppendRows(to)).with_output_types(
            tuple[str, bytes]
        ).with_outputs(AppendRows.REFUSED, main="acks")
        letters = (
            (
                decoded[DecodeStampedBlocks.REFUSED] | "By table" >> beam.Map(_by_table),
                written[AppendRows.REFUSED] | "By its table" >> beam.Map(_by_table),
            )
            | "All refused" >> beam.Flatten()
            | "Append letters" >> beam.ParDo(AppendLetters(to)).with_output_types(tuple[str, bytes])
        )
        (
            (written.acks, letters)
            | "All parts" >> beam.Flatten()
            | "Commit offsets" >> beam.ParDo(CommitOffsets(self.ledger, self.offsets, self.allow_lost))
        )


def _by_table(refused: Any) -> tuple[str, Any]:
    """Keyed. Any, and not Refused: Beam would take a named tuple for a row with a schema."""
    return refused.table, refused
