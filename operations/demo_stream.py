"""The demo's second half: a stream that is killed in the middle, started again, and yet exact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.warehouse import Warehouse

__all__ = ["RATE", "STREAM_EVENTS", "kill_halfway", "producing", "stream_counts"]

STREAM_EVENTS = 15_000
RATE = 1_000
"""Events a second while the stream is killed and started again."""
ROWS_BEFORE_THE_KILL = STREAM_EVENTS // 4
WAIT_SECONDS = 180.0
STREAM_QUERY = """
SELECT `table`, SUM(`read`) AS `read`, SUM(written) AS written, SUM(duplicate) AS duplicate,
  SUM(dead_letter) AS dead_letter
FROM pipeline_operations.ledger_current WHERE kind = 'offsets' GROUP BY `table`"""
LAUNCHER = Path(__file__).parent.parent / "launcher.py"


@contextmanager
def producing(arguments: Sequence[str]) -> Iterator[None]:
    """`launcher.py produce` beside what is done in the block, which ends when both are done.

    In a process of its own, for it takes the signals of its process. Raises RuntimeError if it fails.
    """
    process = subprocess.Popen([sys.executable, str(LAUNCHER), "produce", *arguments])
    try:
        yield
        if process.wait():
            raise RuntimeError(f"the events were not sent: produce ended with code {process.returncode}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def kill_halfway(warehouse: Warehouse, arguments: Sequence[str], run_id: str, log: Callable[[str], None]) -> None:
    """Start `launcher.py stream`, wait until it has written some rows, and kill it and all that it has started."""
    command = [sys.executable, str(LAUNCHER), "stream", *arguments]
    stream = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while (rows := _rows_of(warehouse, run_id)) < ROWS_BEFORE_THE_KILL:
            if stream.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the stream wrote {rows:,} rows before it was to be killed, not {ROWS_BEFORE_THE_KILL:,}"
                )
            time.sleep(0.3)
        log(f"the stream has written {rows:,} rows; killing it (SIGKILL)")
    finally:
        if stream.poll() is None:
            os.killpg(stream.pid, signal.SIGKILL)
            stream.wait()


def _rows_of(warehouse: Warehouse, run_id: str) -> int:
    if warehouse.existing("ecommerce_streaming", "user_events_streaming") is None:
        return 0
    rows = warehouse.query(
        "SELECT COUNT(*) AS n FROM ecommerce_streaming.user_events_streaming WHERE _run_id = @run", run=run_id
    )
    return int(rows[0]["n"])


def stream_counts(warehouse: Warehouse, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was sent, what the ledger says, what is in the tables: a row each, of the same numbers where all is well."""
    names = ("read", "written", "duplicate", "dead_letter")
    ledger = warehouse.query(STREAM_QUERY)[0]
    table = warehouse.query("SELECT COUNT(DISTINCT event_id) AS n FROM ecommerce_streaming.user_events_streaming")
    letters = warehouse.query(
        "SELECT COUNT(DISTINCT dead_letter_id) AS n FROM pipeline_operations.dead_letters"
        " WHERE `table` = 'user_events_streaming'"
    )
    return [
        {"": "sent to Kafka", **{name: manifest[name] for name in names}},
        {"": "ledger", **{name: ledger[name] for name in names}},
        {
            "": "in the tables",
            "read": None,
            "written": table[0]["n"],
            "duplicate": None,
            "dead_letter": letters[0]["n"],
        },
    ]
