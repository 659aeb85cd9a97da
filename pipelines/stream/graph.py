"""Stream: Kafka's records become blocks, blocks become clean rows, and every record leaves by one of three doors.

Kafka -> blocks -> decode and validate -> append rows -----.
                        |                   |               \
                        `-- refused --------'-> append dead letters -> commit offsets, each behind its ledger line
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from connectors.sinks.append import AppendDeadLetters, AppendRows
from connectors.sinks.bucket_writers import Writers
from connectors.sinks.commit_offsets import CommitOffsets, Offsets, OffsetsLedger
from connectors.sinks.destination import Destination
from connectors.sinks.fold_changes import FoldChanges
from connectors.sinks.folder import Folding
from connectors.sinks.keep_leases import KeepLeases
from connectors.sources.kafka import KafkaRecord, MakeBlocks
from transforms.origin import Origin
from transforms.stamped import DecodeAndStamp

__all__ = ["Stream"]


@dataclass(frozen=True)
class Stream:
    """A stream as a graph: its middle is fixed, its four ends (`read`, `writers`, `offsets`, `ledger`) are fields.

    `topics` maps a topic to its table. `attempt` names one execution: the same run is submitted again after a failure.
    """

    topics: Mapping[str, str]
    destination: Destination
    read: beam.PTransform[PBegin, PCollection[KafkaRecord]]
    writers: Writers
    offsets: Offsets
    ledger: OffsetsLedger
    max_record_bytes: int
    allow_lost: bool
    horizon: timedelta
    clock: Callable[[], datetime]
    """BigQuery's time."""
    attempt: str
    generations: Mapping[str, str] = field(default_factory=dict)
    """The id of each topic whose table has no key."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """What tells each topic and its table from others of the same name."""
    kept_leases: tuple[str, ...] = ()
    """The leases that the job itself keeps, because it continues without its launcher; see KeepLeases."""
    upkeep: Callable[[], None] | None = None
    """Called at intervals by such a job."""
    folding: Folding | None = None
    """How such a job folds the changes of tables that take updates."""

    def build(self, pipeline: beam.Pipeline) -> None:
        """Add the stream to the pipeline. Nothing moves records between workers before they are in blocks."""
        run, tables = self.destination.run, self.destination.tables
        if self.kept_leases:
            _ = pipeline | "Keep leases" >> KeepLeases(self.destination.warehouse, run, self.kept_leases, self.upkeep)
        if self.folding and self.folding.tables:
            _ = pipeline | "Fold changes" >> FoldChanges(self.folding)
        records = pipeline | "Read from Kafka" >> self.read
        blocks = records | "Make blocks" >> MakeBlocks(
            self.topics, self.max_record_bytes, run, self.attempt, self.generations
        )
        decoded = blocks | "Decode and validate" >> DecodeAndStamp(tables, self.writers.buckets)
        appended = decoded.rows | "Append rows" >> AppendRows(tables, run, self.writers)
        refused = decoded.refused, appended.refused
        dead_letters = refused | "Append dead letters" >> AppendDeadLetters(tables, run, self.writers, self.origins)
        acks = appended.acks, dead_letters
        _ = acks | "Commit offsets" >> CommitOffsets(
            self.ledger, self.offsets, self.allow_lost, self.horizon, self.clock
        )
