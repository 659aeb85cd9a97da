"""The exit code of a run, by the state in which it ended."""

from __future__ import annotations

from transforms.ledger import State

__all__ = ["EXIT_CODES"]

EXIT_CODES = {
    State.RUNNING: 0,
    State.DONE: 0,
    State.FAILED: 1,
    State.REFUSED: 2,
    State.LEDGER_BROKEN: 3,
    State.TOO_MANY_DEAD_LETTERS: 4,
    State.QUALITY_BROKEN: 6,
}
