"""The demo's second half: a stream that is killed in the middle, started again, and yet exact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.line_sums import DOORS
from contracts.errors import Unavailable

__all__ = ["PARTS", "SENT_BEFORE", "STREAM_EVENTS", "killed_at_a_third", "producing", "stream_counts", "total"]

STREAM_EVENTS = 15_000
SENT_BEFORE = STREAM_EVENTS // 2
"""The events that there are before the kill: however slow the machine, it comes before half of the rows are written."""
PARTS = {"first": (500, 2_500), "before": (SENT_BEFORE - 500, 1_500), "after": (STREAM_EVENTS - SENT_BEFORE, 2_500)}
"""What is sent in turn: how many events, and how many a second. The first ones show that the stream is ready; it is
killed while the second are being sent, and started again when the last are."""
ROWS_BEFORE_THE_KILL = STREAM_EVENTS // 3
WAIT_SECONDS = 180.0
STREAM_QUERY = """
SELECT `table`, SUM(`read`) AS `read`, SUM(written) AS written, SUM(duplicate) AS duplicate,
  SUM(dead_letter) AS dead_letter
FROM pipeline_operations.ledger_current WHERE kind = 'offsets' AND run_id = @run GROUP BY `table`"""
LAUNCHER = Path(__file__).parent.parent / "launcher.py"


@contextmanager
def producing(arguments: Sequence[str]) -> Iterator[None]:
    """Run `launcher.py produce` during the block, and wait for its end after the block.

    It is a separate process, since it handles the signals of its process. Raises Unavailable if it fails.
    """
    process = subprocess.Popen([sys.executable, str(LAUNCHER), "produce", *arguments])
    try:
        yield
        if process.wait():
            raise Unavailable(f"the events were not sent: produce ended with code {process.returncode}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def killed_at_a_third(
    warehouse: Warehouse,
    arguments: Sequence[str],
    dataset: str,
    sending: Mapping[str, Sequence[str]],
    log: Callable[[str], None],
) -> int:
    """Start `launcher.py stream`, send it PARTS by `sending`'s arguments of `launcher.py produce`, and kill it with all
    that it has started when a third of the rows is written; the number of rows by then.
    """
    command = [sys.executable, str(LAUNCHER), "stream", *arguments]
    stream = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with producing(sending["first"]):
            _wait_for_rows(warehouse, dataset, 1, stream)
        with producing(sending["before"]):
            rows = _wait_for_rows(warehouse, dataset, ROWS_BEFORE_THE_KILL, stream)
            os.killpg(stream.pid, signal.SIGKILL)
            log(f"the stream has written {rows:,} of {STREAM_EVENTS:,} rows; killed it (SIGKILL), and sending on")
            with producing(sending["after"]):
                pass
    finally:
        if stream.poll() is None:
            os.killpg(stream.pid, signal.SIGKILL)
            stream.wait()
    return rows


def _wait_for_rows(warehouse: Warehouse, dataset: str, wanted: int, stream: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + WAIT_SECONDS
    while (rows := _rows_of(warehouse, dataset)) < wanted:
        if stream.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"the stream wrote {rows:,} rows before it was to be killed, not {wanted:,}")
        time.sleep(0.1)
    return rows


def _rows_of(warehouse: Warehouse, dataset: str) -> int:
    if warehouse.existing(dataset, "user_events_streaming") is None:
        return 0
    return int(warehouse.query(f"SELECT COUNT(*) AS n FROM {dataset}.user_events_streaming")[0]["n"])


def total(manifests: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The records of several manifests of `produce`, by door."""
    sent = list(manifests)
    return {name: sum(manifest[name] for manifest in sent) for name in DOORS}


def stream_counts(warehouse: Warehouse, run_id: str, dataset: str, sent: Mapping[str, int]) -> list[dict[str, Any]]:
    """What was sent, what the ledger says, what is in the tables: a row each, of the same numbers where all is well."""
    ledger = warehouse.query(STREAM_QUERY, run=run_id)[0]
    table = warehouse.query(f"SELECT COUNT(DISTINCT event_id) AS n FROM {dataset}.user_events_streaming")
    letters = warehouse.query(
        "SELECT COUNT(DISTINCT dead_letter_id) AS n FROM pipeline_operations.dead_letters WHERE run_id = @run",
        run=run_id,
    )
    return [
        {"": "sent to Kafka", **{name: sent[name] for name in DOORS}},
        {"": "ledger", **{name: ledger[name] for name in DOORS}},
        {"": "in the tables", **dict.fromkeys(DOORS), "written": table[0]["n"], "dead_letter": letters[0]["n"]},
    ]
