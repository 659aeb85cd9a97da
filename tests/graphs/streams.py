"""The real graph of a stream, from a list of records to a warehouse, a ledger and a broker in memory."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa

from connectors.bigquery.append_reply import Rejected
from connectors.bigquery.warehouse import Warehouse
from connectors.kafka.partitions import uri
from connectors.sinks.bucket_writer import Appended
from connectors.sinks.destination import Destination
from connectors.sources.kafka import KafkaRecord
from contracts.lineage import POSITION, SOURCE
from contracts.odcs.tables import shipped
from contracts.refusal import ErrorCode
from contracts.table import Table
from pipelines.stream.graph import Stream
from pipelines.stream.preflight import told_apart_by_place
from tests import runs
from tests.graphs.eager import local_pipeline
from tests.graphs.memory import Shared
from transforms.deduplicate import CONTENT, Outcome, compare, decide
from transforms.key_index import KeyIndex
from transforms.offsets import Line
from transforms.tally import Tally

__all__ = ["RUN", "TABLE", "TOPIC", "Site", "event", "record"]

TOPIC, TABLE = "user-events", "user_events_streaming"
HORIZON = timedelta(days=1)
RUN = replace(runs.RUN, pipeline="stream", max_record_bytes=9000, max_dead_letter_ratio=1.0)


def event(number: int, **fields: Any) -> bytes:
    """A clean event; events with one number have one primary key."""
    values = {
        "event_id": f"e{number}",
        "customer_id": "c",
        "event_type": "page_view",
        "event_timestamp": "2026-03-01T12:34:56.789Z",
        "page_url": "https://shop.example/p",
    }
    return json.dumps({**values, **fields}).encode()


def record(offset: int, value: bytes | None, partition: int = 0, key: bytes | None = b"k") -> KafkaRecord:
    """A record of TOPIC."""
    return KafkaRecord(TOPIC, partition, offset, 1_700_000_000_000 + offset, key, value, None)


Refuse = Callable[[Mapping[str, Any]], bool]


@dataclass(eq=False)
class Site(Shared):
    """A warehouse, a ledger and a broker. `refuse` says which rows the warehouse does not take.

    `durable` has the offsets of each source whose records are safe. A commit past another offset of `log` is an error.
    """

    log: list[KafkaRecord] = field(default_factory=list)
    table: Table = field(default_factory=lambda: shipped()[TABLE])
    refuse: Refuse = lambda row: False
    refuse_dead_letter: Refuse = lambda row: False
    rows: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[str, Line]] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    anchors: dict[str, datetime | None] = field(default_factory=dict)
    durable: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    errors: list[str] = field(default_factory=list)
    appends: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    indexes: defaultdict[str, KeyIndex] = field(default_factory=lambda: defaultdict(partial(KeyIndex, HORIZON)))

    def stream(self, read: beam.PTransform[Any, Any], **settings: Any) -> Stream:
        """The stream with its ends here; `settings` are fields of its Run."""
        run = replace(RUN, **settings)
        tables = {TABLE: self.table}
        return Stream(
            topics={TOPIC: TABLE},
            destination=Destination(run, tables, {TABLE: "dataset"}, Warehouse("project", "US")),
            read=read,
            writers=_Writers(self, buckets=3),
            offsets=_Offsets(self),
            ledger=_Ledger(self),
            max_record_bytes=run.max_record_bytes,
            allow_lost=False,
            horizon=HORIZON,
            clock=_now,
            attempt=f"attempt-{id(self)}",
            generations={TOPIC: "topic-id"} if told_apart_by_place(self.table) else {},
        )

    def run(self, records: Iterable[KafkaRecord] | None = None, workers: int = 1, **settings: Any) -> None:
        """Run a stream over `records`, by default all of `log`. It fails if one of its ends was not reached."""
        records = list(self.log if records is None else records)
        read = beam.Create(records, reshuffle=workers > 1).with_output_types(Any)
        before = self.appends, len(self.lines), dict(self.offsets)
        with local_pipeline(workers) as pipeline:
            self.stream(read, **settings).build(pipeline)
        assert self.errors == []
        assert self.appends > before[0], "nothing was appended"
        assert len(self.lines) > before[1], "the ledger was not written"
        assert self.offsets != before[2], "no offset was committed"

    def tally(self) -> Tally:
        """All lines of the ledger together."""
        total = Tally()
        for _, line in self.lines:
            total.add(line.tally)
        return total


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Writers:
    site: Site
    buckets: int

    def rows_writer(self, table: str, bucket: int) -> _Writer:
        return _Writer(self.site, f"{table}/{bucket}", self.site.rows, self.site.refuse)

    def dead_letters_writer(self, table: str) -> _Writer:
        return _Writer(self.site, f"{table}/dead letters", self.site.dead_letters, self.site.refuse_dead_letter)


@dataclass(frozen=True)
class _Writer:
    """A BucketWriter without BigQuery: the real decision and the real index, rows in a list."""

    site: Site
    bucket: str
    table: list[dict[str, Any]]
    refuse: Refuse

    def append(self, rows: pl.DataFrame, stored: Callable[[pl.DataFrame, datetime], pa.RecordBatch]) -> Appended:
        with self.site.lock:
            index, now = self.site.indexes[self.bucket], datetime.now(UTC)
            outcomes = decide(rows, index)
            refused: dict[int, Rejected] = {}
            for row in (outcomes == Outcome.FIRST).arg_true():
                (values,) = stored(rows[[row]], now).to_pylist()
                if self.refuse(values):
                    refused[row] = Rejected(ErrorCode.WAREHOUSE_REJECTED, "the warehouse does not take it")
                else:
                    self.table.append(values)
                    index.add(rows[[row]], now)
            for row, (source, position) in enumerate(rows.select(SOURCE, POSITION).iter_rows()):
                if row not in refused:
                    self.site.durable[source].add(position)
            self.site.appends += 1
            compared = (
                compare(rows, outcomes, index) if CONTENT in rows.columns else outcomes.clear(len(rows)).fill_null(0)
            )
            return Appended(outcomes, refused, now, compared)


@dataclass(frozen=True)
class _Offsets:
    site: Site

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        return {source: self.site.offsets.get(source) for source in sources}

    def anchors(self, sources: Iterable[str]) -> dict[str, datetime | None]:
        return {source: self.site.anchors.get(source) for source in sources}

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        return {source: max(self._of(source), default=-1) + 1 for source in sources}

    def commit(self, offsets: Mapping[str, int], anchors: Mapping[str, datetime | None] | None = None) -> None:
        self.site.anchors |= anchors or {}
        for source, offset in offsets.items():
            if not any(line.last + 1 == offset for at, line in self.site.lines if at == source):
                self.site.errors.append(f"offset {offset} of {source} is committed before its ledger line")
            missing = {at for at in self._of(source) if at < offset} - self.site.durable[source]
            if missing:
                self.site.errors.append(f"offset {offset} of {source} is committed, {sorted(missing)} are not durable")
            self.site.offsets[source] = max(offset, self.site.offsets.get(source, 0))

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        return {source: min(self._of(source), default=0) for source in sources}

    def next_record(self, source: str, offset: int) -> int:
        return min(at for at in self._of(source) if at >= offset)

    def _of(self, source: str) -> list[int]:
        return [record.offset for record in self.site.log if uri(record.topic, record.partition) == source]


@dataclass(frozen=True)
class _Ledger:
    site: Site

    def record(self, source: str, lines: Sequence[Line]) -> None:
        self.site.lines += [(source, line) for line in lines]

    def record_lost(self, source: str, first: int, last: int) -> None:
        self.site.errors.append(f"offsets {first} to {last} of {source} are lost")
