"""A run: what every step of one pipeline's execution knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

__all__ = ["PIPELINE_VERSION", "Run"]

PIPELINE_VERSION = version("shop-pipeline")


@dataclass(frozen=True, slots=True)
class Run:
    """Constants of a run; they travel inside the graph, so a worker needs nothing else.

    `token` names this attempt of the run to the leases. `processed` and `dead_letters` are folders.
    """

    run_id: str
    token: str
    pipeline: str
    started_at: datetime
    project: str
    location: str
    operations_dataset: str
    processed: str
    dead_letters: str
    max_record_bytes: int
    max_dead_letter_ratio: float
    keep_duplicates: bool = False
