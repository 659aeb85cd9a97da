"""A run: the constants that every step of one execution of a pipeline needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from transforms.run_state import RunState, state_of

__all__ = ["PIPELINE_VERSION", "Run"]

PIPELINE_VERSION = version("contract-pipeline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The constants of a run. They are part of the graph, so a worker needs nothing else.

    `token` identifies this attempt of the run to the leases. `processed` and `dead_letters` are folders.
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
    max_expansion: int = 1000

    @property
    def state(self) -> RunState:
        """What the run keeps in this process; look it up once a bundle. Raises RunEnded."""
        return state_of(self.token)
