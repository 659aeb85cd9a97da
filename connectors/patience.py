"""How long BigQuery is waited for, in place: an engine retries a step at once, or never."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.api_core import exceptions

__all__ = ["NoAnswer", "Patience"]

PAUSES = (0.1, 5.0)
"""Seconds between two questions: at first, and at most."""
TRANSIENT = (exceptions.ServerError, exceptions.TooManyRequests, exceptions.Aborted, exceptions.Cancelled)
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class NoAnswer(Exception):
    """BigQuery gave no answer that settles a question before the deadline."""


@dataclass(frozen=True, slots=True)
class Patience:
    """One exchange is given up after `answer` seconds and asked again, until `deadline` seconds have passed."""

    deadline: float
    answer: float = 20.0

    def attempts(self) -> Iterator[Callable[[str], None]]:
        """For each attempt what is called when it has failed, with the reason: a pause, or NoAnswer if it is late."""
        give_up = time.monotonic() + self.deadline
        pause, longest = PAUSES
        while True:

            def again(reason: str, pause: float = pause) -> None:
                if time.monotonic() + pause > give_up:
                    raise NoAnswer(reason)
                logger.info("%s; again in %.1f s", reason, pause)
                time.sleep(pause)

            yield again
            pause = min(2 * pause, longest)

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """What `question` answers, asked again after a transient error. Raises NoAnswer, and what is not transient.

        It takes `answer` seconds at most if its client is told so, and not to retry by itself.
        """
        for again in self.attempts():
            try:
                return question()
            except TRANSIENT as error:
                again(str(error))
        raise AssertionError("there is always another attempt")
