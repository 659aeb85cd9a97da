"""Where each partition begins, and into how many buckets keys are split: settled under the stream's leases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.bigquery.clock import BigQueryClock
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.stream_ledger import StreamLedger
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.google.clients import write_client
from connectors.kafka.client import refusals
from connectors.kafka.group_offsets import GroupOffsets
from connectors.kafka.lag import lag
from connectors.kafka.offset_problems import recreated, removed_unread
from connectors.retry import RetryPolicy
from contracts.errors import UsageError
from pipelines.runs.settings import Beginning
from pipelines.stream.preflight import PreparedStream
from pipelines.stream.progress import anchors_of
from transforms.anchors import EVERYTHING
from transforms.run import Run

__all__ = ["RETRY", "FirstOffsets", "commit_first_offsets", "number_of_buckets"]

RETRY = RetryPolicy(300.0)
"""How long a step waits for BigQuery or Kafka before the job fails and is submitted again."""
DEFAULT_BUCKETS = 8
MAX_KEYS = 200_000_000
"""How many keys a start may read into memory because an offset was set back: 7 to 11 GB."""
MAX_HORIZONS = 10
"""An offset that was set back by less is not looked at: a usual start reads the keys of two horizons."""


def number_of_buckets(prepared: PreparedStream, run: Run, wanted: int | None) -> int:
    """Return the number of buckets: `wanted`, else that of the tables' last owners, else the default.

    Raises UsageError if it differs from the last owners' number and there is something left to read: keys would change
    their owner. The write streams of the last owners end if it differs.
    """
    streams = WriteStreams(prepared.warehouse, run.operations_dataset, run.run_id, RETRY)
    known = {table: streams.buckets(table) for table in prepared.stream_tables}
    buckets = wanted or next((number for number in known.values() if number), None) or DEFAULT_BUCKETS
    for table, number in known.items():
        if number is None or number == buckets:
            continue
        sources = prepared.sources()
        if any(lag(prepared.offsets.committed(sources), prepared.offsets.ends(sources)).values()):
            raise UsageError(
                f"--buckets: {table} is split into {number}; another number needs a drained stream"
                " (stop it when nothing is left to read)"
            )
        streams.finalize_all(write_client(), table)
    return buckets


def commit_first_offsets(prepared: PreparedStream, run: Run, log: Callable[[str], None]) -> None:
    """Commit where each partition begins, so that every reader begins there.

    Raises UsageError if records were removed before they were read (unless --allow_lost_offsets; the ledger records
    them in either case), if a topic has been recreated, or if more keys must be known than fit into memory.
    """
    settings, clock = prepared.settings, BigQueryClock.of(prepared.warehouse).now
    first = FirstOffsets(
        offsets=prepared.offsets,
        ledger=LedgerTable(prepared.warehouse, settings.operations_dataset),
        beginning=settings.beginning,
        group_is_known=prepared.group_is_known,
        horizon=settings.horizon,
        lost=StreamLedger(run, prepared.origins, RETRY, clock).record_lost,
        allow_lost=settings.allow_lost_offsets,
    )
    with refusals(prepared.kafka):
        first.commit(prepared.sources(), clock(), log)


@dataclass(frozen=True, kw_only=True)
class FirstOffsets:
    """Where a start begins in each partition."""

    offsets: GroupOffsets
    ledger: LedgerTable
    beginning: Beginning | datetime
    """Where a new group begins."""
    group_is_known: bool
    """Whether a stream has had the group before. Kafka forgets a group that is down for a week."""
    horizon: timedelta
    lost: Callable[[str, int, int], None]
    """Records offsets of a source, the first and the last, that the broker removed before they were read."""
    allow_lost: bool

    def commit(self, sources: Sequence[str], now: datetime, log: Callable[[str], None]) -> None:
        """Commit the first offset and the anchor of each source, see `commit_first_offsets`."""
        offsets = self.offsets
        committed, beginnings, ends = offsets.committed(sources), offsets.beginnings(sources), offsets.ends(sources)
        starts = self._of_new(committed, beginnings, log)
        for source, position in committed.items():
            if position is None:
                continue
            if why := recreated(source, position, ends[source], offsets.group):
                raise UsageError(why)
            if lost := removed_unread(source, position, beginnings[source]):
                self.lost(source, position, beginnings[source] - 1)
                if not self.allow_lost:
                    raise UsageError(f"{lost}; --allow_lost_offsets continues behind them")
                log(lost)
                starts[source] = beginnings[source]
        anchors = anchors_of(offsets, {**committed, **starts}, self.ledger, now)
        self._check_memory(min(anchors.values(), default=now), now)
        offsets.commit(starts, anchors)
        offsets.annotate({source: at for source, at in anchors.items() if source not in starts})

    def _of_new(
        self, committed: Mapping[str, int | None], beginnings: Mapping[str, int], log: Callable[[str], None]
    ) -> dict[str, int]:
        """Return the first offset of each source without one.

        `beginning` is for a new group. In a known one, such a partition was added while the stream was down, or Kafka
        has forgotten its offset: it is read from its beginning, and the index knows what is written.
        """
        new = [source for source, offset in committed.items() if offset is None]
        known = len(new) < len(committed) or bool(self.group_is_known and self.ledger.newest_offsets(new))
        if known:
            for source in new:
                log(
                    f"group {self.offsets.group} has no offset of {source}: it is read from offset {beginnings[source]}"
                )
            return {source: beginnings[source] for source in new}
        return _first_offsets(self.offsets, new, self.beginning)

    def _check_memory(self, anchor: datetime, now: datetime) -> None:
        """Raise UsageError if an offset was set back so far that more keys must be known than fit into memory."""
        since = anchor - self.horizon if anchor > EVERYTHING else EVERYTHING
        if anchor == EVERYTHING or since >= now - MAX_HORIZONS * self.horizon:
            return
        keys = self.ledger.written_since(since)
        if keys > MAX_KEYS:
            raise UsageError(
                f"group {self.offsets.group} has been set back to {anchor:%Y-%m-%d %H:%M}: {keys:,} keys that were"
                f" written since must be known so that none is written twice, and at most {MAX_KEYS:,} are held in"
                " memory; set its offsets to a later time (kafka-consumer-groups --reset-offsets --to-datetime), or"
                " read the topic into another table under another --group_id"
            )


def _first_offsets(offsets: GroupOffsets, sources: list[str], beginning: Beginning | datetime) -> dict[str, int]:
    """Return the first offset to read of each source. A moment behind the last record begins at the end."""
    if not sources:
        return {}
    if beginning is Beginning.EARLIEST:
        return offsets.beginnings(sources)
    ends = offsets.ends(sources)
    if not isinstance(beginning, datetime):
        return ends
    positions = offsets.at_times(sources, int(beginning.timestamp() * 1000))
    return {source: ends[source] if position is None else position for source, position in positions.items()}
