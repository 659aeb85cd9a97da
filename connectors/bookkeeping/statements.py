"""The statements that load a table: each carries its fence, and a run that takes the table ends those left behind.

A job of BigQuery does not end with its client. A run that was killed may have left a statement that still waits or
runs. Two rules make that harmless:

- The statement reads the lease of its own attempt, and fails without it. So a statement that begins after the table
  was taken changes nothing.
- A statement that began before reads the tables as they were then, and may take effect at any time. So the
  run that takes the table cancels it, or waits for its end. Its id follows from the run and the attempt that the
  lease's row names.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from google.api_core.exceptions import Forbidden, NotFound

from connectors.bigquery.warehouse import MAX_ATTEMPTS, Warehouse, job_name
from connectors.retry import DeadlineExceeded, pauses
from contracts.errors import UsageError

__all__ = [
    "dead_letters_id",
    "digest",
    "end_numbered",
    "end_statements",
    "fold_id",
    "lease_condition",
    "numbered",
    "statement_id",
]

END_SECONDS = 600.0
"""How long a statement that was left behind may take to end after it was cancelled."""


def digest(*parts: str) -> str:
    """12 hex digits that name these parts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


def statement_id(operations_dataset: str, table: str, run_id: str, token: str, step: str = "merge") -> str:
    """Return the prefix of the ids of the jobs that load `table` (dataset.table) in one attempt of a run.

    The operations dataset and the dataset are part of it: environments of one project may share the name of a run.
    """
    name = table.rpartition(".")[2]
    return job_name("batch", run_id, name, step, digest(operations_dataset, table, run_id, token))


def dead_letters_id(operations_dataset: str, run_id: str, token: str) -> str:
    """Return the prefix of the ids of the jobs that insert the dead letters of one attempt of a run."""
    return statement_id(operations_dataset, f"{operations_dataset}.dead_letters", run_id, token, "insert")


def fold_id(operations_dataset: str, table: str, run_id: str, token: str) -> str:
    """Return the prefix of the ids of the jobs that fold the changes of `table` in one attempt of a run.

    The statements are numbered from 1, one after the other: `numbered`.
    """
    return statement_id(operations_dataset, table, run_id, token, "fold")


def numbered(prefix: str, number: int) -> str:
    """Return the prefix of the ids of the jobs of one of a run's statements."""
    return f"{prefix}-{number}"


def _last_number(warehouse: Warehouse, prefix: str) -> int:
    """Return the number of the last statement that was submitted, 0 if none was.

    There is no gap in the numbers, so some questions are enough.
    """
    if not _submitted(warehouse, prefix, 1):
        return 0
    known, unknown = 1, 2
    while _submitted(warehouse, prefix, unknown):
        known, unknown = unknown, unknown * 2
    while unknown - known > 1:
        middle = (known + unknown) // 2
        known, unknown = (middle, unknown) if _submitted(warehouse, prefix, middle) else (known, middle)
    return known


def end_numbered(warehouse: Warehouse, prefix: str) -> int:
    """End the last of a run's numbered statements, as `end_statements` does; return the number of the last one.

    A worker that was replaced may have submitted the one before the last.
    """
    last = _last_number(warehouse, prefix)
    for number in range(max(1, last - 1), last + 1):
        end_statements(warehouse, numbered(prefix, number))
    return last


def _submitted(warehouse: Warehouse, prefix: str, number: int) -> bool:
    return _job(warehouse, f"{numbered(prefix, number)}-1") is not None


def lease_condition(leases: str, table: str, token: str) -> str:
    """Return an expression that is TRUE; the statement fails if `token` does not hold the lease of `table`.

    `leases` is the quoted path of the table of leases. An error, and not FALSE: without rows of its source a MERGE may
    delete the whole table, and a statement that changed nothing would count as done.
    """
    message = json.dumps(f"the lease of {table} is lost")
    return (
        f"(SELECT IF(COUNT(*) > 0, TRUE, ERROR({message})) FROM {leases}"
        f" WHERE `table` = {json.dumps(table)} AND token = {json.dumps(token)})"
    )


def end_statements(
    warehouse: Warehouse,
    prefix: str,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Cancel the statements whose ids begin with `prefix`, and return when none can take effect any more.

    Raises DeadlineExceeded if one does not end.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        job_id = f"{prefix}-{attempt}"
        job = _job(warehouse, job_id)
        if job is None:  # it was not submitted, or will find the lease lost
            return
        give_up_at, waits = clock() + END_SECONDS, pauses(0.1, 5.0)
        while job.state != "DONE":
            if clock() > give_up_at:
                raise DeadlineExceeded(f"statement {job_id} of an earlier run does not end")
            job.cancel()
            sleep(next(waits))
            job.reload()


def _job(warehouse: Warehouse, job_id: str) -> Any:
    """Return a job, None if it does not exist. Raises UsageError if this account may not know."""
    try:
        return warehouse.client.get_job(job_id, location=warehouse.location)
    except NotFound:
        return None
    except Forbidden as error:
        raise UsageError(
            f"job {job_id} of an earlier run may still be running, and BigQuery does not show it to this account"
            f" ({error.message}): it needs bigquery.jobs.get and bigquery.jobs.update"
        ) from None
