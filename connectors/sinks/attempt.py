"""An attempt of a run at its tables: it holds their leases, or it stops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from connectors.bookkeeping.ledger import RUN
from connectors.sinks.destination import Destination
from transforms.ledger import State

__all__ = ["CLOCK_MARGIN", "RunStopped", "is_done", "stop", "take_leases"]

CLOCK_MARGIN = timedelta(days=1)
"""How wrong the clock of this machine may be, compared with BigQuery's."""


class RunStopped(Exception):
    """The run may not continue; its ledger has the reason. The job fails."""


def take_leases(to: Destination, tables: Sequence[str]) -> None:
    """Make sure that the run holds the leases of `tables`. Raises RunStopped if another attempt or run holds one."""
    run = to.run
    holder = to.leases.take([to.qualified(table) for table in tables], run.run_id, run.token)
    if holder and holder.run_id == run.run_id:  # the ledger of the run is that attempt's now
        raise RunStopped(f"another attempt of run {run.run_id} is writing table {holder.table}")
    if holder:
        stop(to, f"table {holder.table} is being written by run {holder.run_id}")


def is_done(to: Destination, *states: State) -> bool:
    """Whether the ledger says that the run has done all: ended in one of `states`, or DONE if none is given."""
    ends = [state.value for state in states or (State.DONE,)]
    return any(line["state"] in ends for line in to.ledger.lines(to.run.run_id, RUN))


def stop(to: Destination, why: str) -> NoReturn:
    """End the run as refused, with the reason in its ledger. Raises RunStopped."""
    to.ledger.record_end(to.run, State.REFUSED, {"why": why})
    raise RunStopped(why)
