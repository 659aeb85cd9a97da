"""A stream's lines in the ledger: one for each range of offsets, written before the offset at its end is committed."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from connectors.append_stream import AppendStream
from connectors.clients import write_client
from connectors.kafka_source import topic_partition
from connectors.ledger_table import LOST, OFFSETS
from connectors.patience import Patience
from transforms.metrics import LOST_OFFSETS, RECORDS, count, count_dead_letters, count_latencies_of
from transforms.offsets import Line, Tally
from transforms.run import PIPELINE_VERSION, Run

__all__ = ["StreamLedger", "recorded"]

_MOMENT = pa.timestamp("us", "UTC")
_FIELDS: list[pa.Field[Any]] = [
    pa.field("run_id", pa.string()), pa.field("pipeline", pa.string()), pa.field("kind", pa.string()),
    pa.field("table", pa.string()), pa.field("source", pa.string()),
    pa.field("first_offset", pa.int64()), pa.field("last_offset", pa.int64()),
    pa.field("read", pa.int64()), pa.field("written", pa.int64()), pa.field("duplicate", pa.int64()),
    pa.field("dead_letter", pa.int64()), pa.field("dead_letter_by_code", pa.string()), pa.field("detail", pa.string()),
    pa.field("pipeline_version", pa.string()), pa.field("started_at", _MOMENT), pa.field("recorded_at", _MOMENT),
]  # fmt: skip
LINE = pa.schema(_FIELDS)


_recorded: dict[str, Tally] = {}
_lock = threading.Lock()


def recorded(run_id: str) -> Tally:
    """What this process has written into the ledger of a run, for whoever watches it: with LOOPBACK workers, all."""
    with _lock:
        total = Tally()
        total.add(_recorded.get(run_id, Tally()))
        return total


class StreamLedger:
    """Appends lines by the default stream: one that is in twice counts once, by its view. It pickles."""

    def __init__(self, run: Run, topics: dict[str, str], patience: Patience) -> None:
        """`topics` maps a topic to its table."""
        self._run = run
        self._topics = topics
        self._patience = patience
        self._stream: AppendStream | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stream": None}

    def record(self, source: str, lines: Sequence[Line]) -> None:
        """Add lines of one source."""
        self._append(source, OFFSETS, [
            {
                "first_offset": line.first, "last_offset": line.last, "read": line.tally.read,
                "written": line.tally.written, "duplicate": line.tally.duplicate,
                "dead_letter": line.tally.dead_letter,
                "dead_letter_by_code": json.dumps(dict(sorted(line.tally.dead_letter_by_code.items()))),
                "detail": json.dumps({"latency": line.tally.latency}),
            }
            for line in lines
        ])  # fmt: skip
        with _lock:
            for line in lines:
                _recorded.setdefault(self._run.run_id, Tally()).add(line.tally)
        for line in lines:
            _count(self._table_of(source), line.tally)

    def record_lost(self, source: str, first: int, last: int) -> None:
        """Add the line of a range that the broker removed before it was read."""
        self._append(source, LOST, [{"first_offset": first, "last_offset": last}])
        count(LOST_OFFSETS, last - first + 1)

    def _table_of(self, source: str) -> str:
        return self._topics[topic_partition(source)[0]]

    def _append(self, source: str, kind: str, lines: list[dict[str, Any]]) -> None:
        run = self._run
        common = {
            "run_id": run.run_id, "pipeline": run.pipeline, "kind": kind, "pipeline_version": PIPELINE_VERSION,
            "table": self._table_of(source), "source": source, "started_at": run.started_at,
            "recorded_at": datetime.now(UTC),
        }  # fmt: skip
        if self._stream is None:
            table = f"projects/{run.project}/datasets/{run.operations_dataset}/tables/ledger"
            self._stream = AppendStream.default(write_client(), table, LINE, self._patience)
        refused = self._stream.append(pa.RecordBatch.from_pylist([{**common, **line} for line in lines], LINE))
        if refused:
            raise ValueError(f"BigQuery refuses a line of the ledger: {next(iter(refused.values()))}")


def _count(table: str, tally: Tally) -> None:
    """Tell the metrics of a line that is in the ledger: a record that was read again and is in no line counts once."""
    for door, number in (("read", tally.read), ("written", tally.written), ("duplicate", tally.duplicate)):
        count(RECORDS, number, table, door)
    count_dead_letters(table, tally.dead_letter_by_code)
    count_latencies_of(table, tally.latency)
