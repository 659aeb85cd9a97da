"""A stream's summary, read from the ledger and from Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from connectors.kafka.lag import lag
from pipelines.runs.summary import Counts, EndOfRun, TableCounter, TableSummary
from pipelines.stream.leased import LeasedStream
from transforms.latency import quantile
from transforms.ledger import State

__all__ = ["LostOffsets", "StreamCounts", "StreamSummary", "add_up", "stream_summary"]

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SHOWN_SOURCES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCounts(Counts):
    """Counts of a stream, with two kinds of its duplicates."""

    duplicate_differs: int = 0
    """Duplicates that differ from the row that was written."""
    duplicate_unknown: int = 0
    """Duplicates that could not be compared with the row that was written."""


@dataclass(frozen=True, slots=True)
class LostOffsets:
    """Offsets of a source that the broker removed before they were read, `first` and `last` included."""

    source: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class StreamSummary(EndOfRun):
    """What a stream has done."""

    tables: Mapping[str, TableSummary[StreamCounts]]
    lag: Mapping[str, int]
    """Offsets that are left to read, by source."""
    lost: Sequence[LostOffsets]
    latency_ms: Mapping[str, float | None]
    """Milliseconds from Kafka's timestamp to `_ingested_at`, by percentile; None if nothing was written."""
    stream_tables: Sequence[str]
    """The tables that the stream writes, DATASET.TABLE."""

    @property
    def records_per_second(self) -> float:
        """Records read per second."""
        read = sum(table.counts.read for table in self.tables.values())
        return read / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what `--summary` writes."""
        return {
            **self._head(),
            "tables": {name: table.to_json() for name, table in self.tables.items()},
            "lag": dict(self.lag),
            "lost": [asdict(offsets) for offsets in self.lost],
            "latency_ms": dict(self.latency_ms),
            "records_per_second": round(self.records_per_second, 1),
            "seconds": round(self.seconds, 3),
            "output": {"tables": list(self.stream_tables)},
        }


def stream_summary(stream: LeasedStream, state: State, why: str | None, seconds: float) -> StreamSummary:
    """Return what the ledger and Kafka say of a run that has ended in `state`, because of `why`.

    If the run is DONE and its ledger does not balance, its state is LEDGER_BROKEN.
    """
    prepared, run, ledger = stream.prepared, stream.run, stream.ledger
    since = ledger.began(run)
    tables, latency = add_up(prepared.tables, ledger.sums(run, prepared.datasets, since))
    broken = [
        f"{source}: {counts.difference:+d} records"
        for table in tables.values()
        for source, counts in table.sources.items()
        if counts.difference
    ]
    if broken and state is State.DONE:
        state = State.LEDGER_BROKEN
        why = f"the ledger does not balance (read minus doors): {'; '.join(broken[:SHOWN_SOURCES])}"
    sources = prepared.sources()
    return StreamSummary(
        run_id=run.run_id,
        pipeline=run.pipeline,
        state=state,
        why=why,
        seconds=seconds,
        tables=tables,
        lag=lag(prepared.offsets.committed(sources), prepared.offsets.ends(sources)),
        lost=[
            LostOffsets(line["source"], line["first_offset"], line["last_offset"]) for line in ledger.lost(run, since)
        ],
        latency_ms={name: quantile(latency, share) for name, share in SHARES.items()},
        stream_tables=prepared.stream_tables,
    )


def add_up(
    names: Iterable[str], lines: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, TableSummary[StreamCounts]], Counter[int]]:
    """Return what `offsets` lines of the ledger say of the tables `names`, and the latencies by class.

    Lines of other tables come from an earlier start under the same run id and are left out.
    """
    counters = {name: TableCounter(StreamCounts) for name in names}
    latency: Counter[int] = Counter()
    for line in lines:
        counter = counters.get(line["table"])
        if counter is None:
            continue
        detail = line["detail"] or {}
        counts = StreamCounts(
            read=line["read"],
            written=line["written"],
            duplicate=line["duplicate"],
            dead_letter=line["dead_letter"],
            duplicate_differs=detail.get("duplicate_differs", 0),
            duplicate_unknown=detail.get("duplicate_unknown", 0),
        )
        counter.add(line, counts)
        latency.update({int(key): count for key, count in detail.get("latency", {}).items()})
    return {name: counter.summary() for name, counter in counters.items()}, latency
