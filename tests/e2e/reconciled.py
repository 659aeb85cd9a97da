"""That `reconcile` finds nothing."""

from __future__ import annotations

from pathlib import Path

from tests import launching

__all__ = ["reconciled"]


def reconciled(directory: Path, dataset: str, *arguments: str) -> None:
    """The ledger, the tables, the dead letters and the files of a site agree, whatever was killed there."""
    names = (f"--dataset={dataset}", f"--operations_dataset={dataset}_operations")
    done = launching.run(["reconcile", "--local", f"--local_dir={directory}", *names, *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
