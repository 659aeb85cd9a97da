"""The lines of a stream in the ledger: one for each range of offsets, written before its last offset is committed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from connectors.bigquery.append_stream import AppendStream
from connectors.bookkeeping.ledger import LOST, OFFSETS
from connectors.google.clients import write_client
from connectors.kafka.partitions import topic_partition
from connectors.retry import RetryPolicy
from contracts.bookkeeping import LEDGER
from transforms.metrics import APPEND_RETRIES, DUPLICATE_DIFFERS, LOST_OFFSETS, RECORDS, MetricValues
from transforms.offsets import Line
from transforms.origin import Origin
from transforms.run import PIPELINE_VERSION, Run
from transforms.tally import Tally

__all__ = ["RecordedTally", "StreamLedger", "differing"]

COLUMNS = (
    "run_id",
    "pipeline",
    "kind",
    "table",
    "source",
    "first_offset",
    "last_offset",
    "read",
    "written",
    "duplicate",
    "dead_letter",
    "dead_letter_by_code",
    "detail",
    "pipeline_version",
    "started_at",
    "recorded_at",
    "dataset",
    "cluster",
    "topic_id",
)
LINE = LEDGER.arrow_schema(COLUMNS)
logger = logging.getLogger(__name__)


class RecordedTally:
    """The sum of the lines that this process has written for a run: of all lines, with LOOPBACK workers."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._lock = threading.Lock()

    def add(self, tally: Tally) -> None:
        """Add the counts of a line."""
        with self._lock:
            self._tally.add(tally)

    def total(self) -> Tally:
        """Return the counts of all lines together."""
        total = Tally()
        with self._lock:
            total.add(self._tally)
        return total

    def close(self) -> None:
        """Nothing to release."""


def differing(table: str, duplicates: int) -> str:
    """Return the warning about duplicates that differ from the row that was written."""
    differ = f"{duplicates:,} duplicates differ" if duplicates > 1 else "1 duplicate differs"
    return (
        f"{table}: {differ} from the row that was written: a stream into a table with append"
        " applies no updates; give the table a key that tells versions apart, or writeDisposition merge"
    )


class StreamLedger:
    """Appends lines through the default stream. The view counts a line once that is appended twice. It pickles."""

    def __init__(self, run: Run, origins: dict[str, Origin], retry: RetryPolicy, clock: Callable[[], datetime]) -> None:
        """`origins` says what each topic is. `clock` is BigQuery's: an anchor may be counted from a line."""
        self._clock = clock
        self._run = run
        self._origins = origins
        self._retry = retry
        self._stream: AppendStream | None = None
        self._warned: set[str] = set()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stream": None}

    def record(self, source: str, lines: Sequence[Line]) -> None:
        """Append lines of one source, and count them in the metrics. Raises DeadlineExceeded."""
        self._append(
            source,
            OFFSETS,
            [
                {
                    "first_offset": line.first,
                    "last_offset": line.last,
                    "read": line.tally.read,
                    "written": line.tally.written,
                    "duplicate": line.tally.duplicate,
                    "dead_letter": line.tally.dead_letter,
                    "dead_letter_by_code": json.dumps(dict(sorted(line.tally.dead_letter_by_code.items()))),
                    "detail": json.dumps(_detail(line.tally)),
                }
                for line in lines
            ],
        )
        table, differs = self._origin_of(source).table, sum(line.tally.duplicate_differs for line in lines)
        if differs and table not in self._warned:
            self._warned.add(table)
            logger.warning("%s", differing(table, differs))
        state = self._run.state
        for line in lines:
            state.part(RecordedTally).add(line.tally)
            _count(state.metrics, table, line.tally)

    def record_lost(self, source: str, first: int, last: int) -> None:
        """Append the line of a range of offsets that the broker removed before it was read. Raises DeadlineExceeded."""
        self._append(source, LOST, [{"first_offset": first, "last_offset": last}])
        self._run.state.metrics.count(LOST_OFFSETS, last - first + 1)

    def _origin_of(self, source: str) -> Origin:
        return self._origins[topic_partition(source)[0]]

    def _append(self, source: str, kind: str, lines: list[dict[str, Any]]) -> None:
        run = self._run
        common = {
            "run_id": run.run_id,
            "pipeline": run.pipeline,
            "kind": kind,
            "pipeline_version": PIPELINE_VERSION,
            **self._origin_of(source)._asdict(),
            "source": source,
            "started_at": run.started_at,
            "recorded_at": self._clock(),
        }
        if self._stream is None:
            table = f"projects/{run.project}/datasets/{run.operations_dataset}/tables/ledger"
            self._stream = AppendStream.default(write_client(), table, LINE, self._retry, self._count_retry)
        batch = pa.RecordBatch.from_pylist([{**common, **line} for line in lines], LINE)
        refused = self._stream.append(batch)
        if refused:
            raise ValueError(f"BigQuery refuses a line of the ledger: {next(iter(refused.values())).message}")

    def _count_retry(self) -> None:
        self._run.state.metrics.count(APPEND_RETRIES, 1)


def _detail(tally: Tally) -> dict[str, object]:
    """Return the counts that have no column of their own, without those that are 0."""
    duplicates = {"duplicate_differs": tally.duplicate_differs, "duplicate_unknown": tally.duplicate_unknown}
    return {"latency": tally.latency, **{name: number for name, number in duplicates.items() if number}}


def _count(metrics: MetricValues, table: str, tally: Tally) -> None:
    """Count a line that the ledger holds. Records that are read again and reach no line count once."""
    for door, number in (("read", tally.read), ("written", tally.written), ("duplicate", tally.duplicate)):
        metrics.count(RECORDS, number, table, door)
    metrics.count_dead_letters(table, tally.dead_letter_by_code)
    metrics.count(DUPLICATE_DIFFERS, tally.duplicate_differs, table)  # 0 too: an alert needs the series
    metrics.count_latencies(table, tally.latency)
