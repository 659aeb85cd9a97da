"""Take the leases of a run, or refuse to start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from connectors.bookkeeping.leases import Holder, Leases
from contracts.errors import Conflict
from transforms.run import Run

__all__ = ["conflict_with", "refuse_unless_free"]


def conflict_with(holder: Holder) -> Conflict:
    """Return the error for a table, or a group (group:NAME), whose lease another run holds."""
    name = holder.table
    if name.startswith("group:"):
        return Conflict(
            f"group {name.removeprefix('group:')} is read by run {holder.run_id}; wait until it ends, or stop it"
        )
    return Conflict(f"table {name} is being written by run {holder.run_id}; wait until it ends, or stop it")


def refuse_unless_free(leases: Leases, names: Sequence[str], run: Run, log: Callable[[str], None]) -> None:
    """Take the leases on `names` for an attempt of `run`, all or none of them.

    Waits for a lease without a recent heartbeat to lapse. Raises Conflict if another run holds one.
    """
    holder = leases.wait_for(
        names,
        run.run_id,
        run.token,
        lambda held: log(f"{held.table}: waiting for the lease of run {held.run_id} to lapse at {held.until}"),
    )
    if holder:
        raise conflict_with(holder)
