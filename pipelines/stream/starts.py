"""Where each partition begins, and into how many buckets keys are split: settled under the stream's leases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from connectors.bigquery.clock import BigQueryClock
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.stream_ledger import StreamLedger
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.google.clients import write_client
from connectors.kafka.client import refusals
from connectors.kafka.group_offsets import GroupOffsets, recreated, removed_unread
from connectors.kafka.lag import lag
from connectors.retry import RetryPolicy
from contracts.errors import UsageError
from pipelines.runs.settings import Beginning
from pipelines.stream.preflight import PreparedStream
from pipelines.stream.progress import anchors_of
from transforms.run import Run

__all__ = ["RETRY", "commit_first_offsets", "number_of_buckets"]

RETRY = RetryPolicy(300.0)
"""How long a step waits for BigQuery or Kafka before the job fails and is submitted again."""
DEFAULT_BUCKETS = 8


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
    them in either case) or if a topic has been recreated.
    """
    with refusals(prepared.kafka):
        clock = BigQueryClock.of(prepared.warehouse).now
        _commit_first_offsets(prepared, StreamLedger(run, dict(prepared.topics), RETRY, clock), clock(), log)


def _commit_first_offsets(
    prepared: PreparedStream, ledger: StreamLedger, now: datetime, log: Callable[[str], None]
) -> None:
    settings, offsets, sources = prepared.settings, prepared.offsets, prepared.sources()
    committed, beginnings, ends = offsets.committed(sources), offsets.beginnings(sources), offsets.ends(sources)
    starts = _first_offsets(offsets, [source for source in sources if committed[source] is None], settings.beginning)
    for source in sources:
        position = committed[source]
        if position is None:
            continue
        if why := recreated(source, position, ends[source], offsets.group):
            raise UsageError(why)
        if lost := removed_unread(source, position, beginnings[source]):
            ledger.record_lost(source, position, beginnings[source] - 1)
            if not settings.allow_lost_offsets:
                raise UsageError(f"{lost}; --allow_lost_offsets continues behind them")
            log(lost)
            starts[source] = beginnings[source]
    positions = {**committed, **starts}
    operations = LedgerTable(prepared.warehouse, settings.operations_dataset)
    anchors = anchors_of(offsets, positions, operations, now)
    offsets.commit(starts, anchors)
    offsets.annotate({source: at for source, at in anchors.items() if source not in starts})


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
