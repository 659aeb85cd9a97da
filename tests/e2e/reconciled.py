"""What `reconcile` finds."""

from __future__ import annotations

import json
from pathlib import Path

from tests import launching

__all__ = ["accepted", "contradictions", "reconciled"]


def reconciled(directory: Path, dataset: str, *arguments: str) -> str:
    """What it prints: the ledger, the tables, the dead letters and the sources of a site agree, whatever was killed."""
    names = (f"--dataset={dataset}", f"--operations_dataset={dataset}_operations")
    done = launching.run(["reconcile", "--local", f"--local_dir={directory}", *names, *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contradictions(directory: Path, dataset: str) -> list[tuple[str, str, int]]:
    """What it finds: the code, the source and how many."""
    names = (f"--dataset={dataset}", f"--operations_dataset={dataset}_operations", "--format=json")
    done = launching.run(["reconcile", "--local", f"--local_dir={directory}", *names])
    assert done.returncode == 3, done.stdout + done.stderr
    return [(found["code"], found["source"], found["count"]) for found in json.loads(done.stdout)]


def accepted(directory: Path, dataset: str) -> None:
    """Hold that it finds nothing while a run holds leases that was killed; before its first lines it says so."""
    names = (f"--dataset={dataset}", f"--operations_dataset={dataset}_operations")
    done = launching.run(["reconcile", "--local", f"--local_dir={directory}", *names])
    assert done.returncode == 0 or (done.returncode == 2 and "has no line about" in done.stderr), (
        done.stdout + done.stderr
    )
